"""Samples as they are stored, with all that is wrong with them: from tars and from ArrayRecord files."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import RECORD_SUFFIXES, suffix_of
from bioclip_jax.pipeline.sources import CAPTION_KINDS, IMAGE_KINDS, dot_note, split_name
from bioclip_jax.text import Taxon

from .findings import NOTES, Findings
from .names import shown, unsafe
from .tar_entries import Damage, Entry, entries

# One sample is in memory at a time, and no member of it that is larger than this.
LARGEST_IMAGE = 256 << 20
LARGEST_TEXT = 1 << 20

_LINKS = {b"1": "hard_link", b"2": "symbolic_link"}
_FOLDER = b"5"


@dataclass
class RawSample:
    """One sample: `place` is the byte or the record where it begins, image_kind its image's extension or "".

    captions: by type, undecoded. interrupted: a damaged place lies in it or before it, so what it lacks may
    lie there.
    """

    key: str
    place: int
    image: bytes = b""
    image_kind: str = ""
    captions: dict[str, bytes] = field(default_factory=dict)
    taxon: Taxon | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False


def is_records(path: Path) -> bool:
    """Whether a shard is an ArrayRecord file, not a tar."""
    return suffix_of(path) in RECORD_SUFFIXES


def read_samples(path: Path, findings: Findings) -> Iterator[RawSample]:
    """The samples of a shard, as sources count them; what is wrong between them goes to `findings`.

    OSError if the file cannot be read.
    """
    return _record_samples(path, findings) if is_records(path) else _tar_samples(path, findings)


def read_key(path: Path, place: int) -> str:
    """The key of the sample that begins at `place`. OSError or ValueError if it is not there any more."""
    if is_records(path):
        from bioclip_jax.pipeline.sources import RecordSource

        return RecordSource([path])[place].key
    with path.open("rb") as file:
        file.seek(0, 2)
        for entry in entries(_Shifted(file, place), file.tell() - place):
            if isinstance(entry, Entry) and (parts := split_name(entry.name.decode("utf-8", "replace"))):
                return parts[0]
    raise ValueError(f"{path} has no sample at byte {place}; it has changed meanwhile")


def _tar_samples(path: Path, findings: Findings) -> Iterator[RawSample]:
    with path.open("rb") as file:
        file.seek(0, 2)
        sample, seen, interrupted = None, set(), False
        for entry in entries(file, file.tell()):
            where = f"byte {entry.position}"
            if isinstance(entry, Damage):
                if entry.kind in NOTES:
                    findings.note(entry.kind, where, entry.message)
                    continue
                findings.error(entry.kind, where, entry.message)
                if entry.kind == "joined_tar":
                    continue
                interrupted = True
                if sample:
                    sample.interrupted = True
                continue
            name = entry.name.decode("utf-8", "replace")
            if reason := unsafe(name):
                findings.error("unsafe_member_name", where, f"{shown(name)}: {reason}")
            if entry.type != b"0":
                _other_member(entry, name, where, findings)
                continue
            parts = split_name(name)
            if parts is None or "\ufffd" in name:
                reason = "it is not UTF-8" if parts else "it has no key or no extension"
                findings.error("wrong_member_name", where, f"{shown(name)}: {reason}")
                if parts is None:
                    continue
            key, kind = parts
            if sample is None or key != sample.key:
                if sample:
                    yield sample
                sample, seen = RawSample(key, entry.start, interrupted=interrupted), set()
                interrupted = False
            if kind in seen:
                findings.error("duplicate_member", sample.key, f"{shown(name)} is there again at {where}")
                continue
            seen.add(kind)
            _add_file(sample, kind, entry, file, findings)
        if sample:
            yield sample


def _other_member(entry: Entry, name: str, where: str, findings: Findings) -> None:
    if kind := _LINKS.get(entry.type):
        target = entry.target.decode("utf-8", "replace")
        findings.error(kind, where, f"{shown(name)} is a link to {shown(target)}")
    elif entry.type != _FOLDER:
        findings.error(
            "special_member", where, f"{shown(name)} is of type {shown(entry.type.decode('latin-1'))}"
        )


def _add_file(sample: RawSample, kind: str, entry: Entry, file: BinaryIO, findings: Findings) -> None:
    """Puts a member into its sample, if a sample has such a member."""
    given, kind = kind, kind.lower()
    is_image = kind in IMAGE_KINDS
    if not is_image and kind not in CAPTION_KINDS and kind != "json":
        reason = dot_note(given) or "a file that is neither image, caption nor metadata"
        findings.note("unknown_file", sample.key, reason)
        return
    if is_image and sample.image:
        findings.note("several_images", sample.key, "a sample of several images")
        return
    largest = LARGEST_IMAGE if is_image else LARGEST_TEXT
    if entry.size > largest:
        findings.error(
            "member_too_large", sample.key, f"{shown(kind)} is of {entry.size} bytes, more than {largest}"
        )
        sample.interrupted = sample.interrupted or is_image
        return
    file.seek(entry.data)
    content = file.read(entry.size)
    if len(content) < entry.size:
        raise OSError(f"it was cut off while it was read, at byte {entry.data}")
    if is_image:
        sample.image, sample.image_kind = content, kind
    elif kind == "json":
        sample.metadata = _metadata(content, sample.key, findings)
    else:
        sample.captions[CAPTION_KINDS[kind]] = content


def _metadata(content: bytes, key: str, findings: Findings) -> Mapping[str, Any]:
    try:
        values = json.loads(content)
        # Lone surrogates can be read, but not be written again.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        return values
    findings.note("metadata_unreadable", key, "its .json holds no JSON object")
    return {}


def _record_samples(path: Path, findings: Findings) -> Iterator[RawSample]:
    from bioclip_jax.pipeline.sources import RecordSource

    if not path.stat().st_size:
        findings.error("empty_file", "byte 0", "it is empty")
        return
    try:
        source = RecordSource([path])
    except UserError as error:
        findings.error("not_an_array_record", "byte 0", str(error))
        return
    for index in range(len(source)):
        try:
            sample = source[index]
            captions = {str(name): text.encode() for name, text in sample.captions.items()}
            types = type(sample.key), type(sample.image), type(sample.metadata)
            if types != (str, bytes, dict):
                raise TypeError("its key, image or metadata is of a wrong type")
        except Exception as error:  # Riegeli, msgpack and wrong types: each has errors of its own
            findings.error(
                "damaged_record", f"record {index}", str(error).splitlines()[0][:200] or repr(error)
            )
            continue
        if reason := unsafe(sample.key):
            findings.error(
                "unsafe_member_name", f"record {index}", f"its key is {shown(sample.key)}: {reason}"
            )
        yield RawSample(sample.key, index, sample.image, "", captions, sample.taxon, sample.metadata)


class _Shifted:
    """A file from some byte on."""

    def __init__(self, file: BinaryIO, start: int):
        self._file, self._start = file, start

    def seek(self, position: int) -> None:
        self._file.seek(self._start + position)

    def read(self, size: int) -> bytes:
        return self._file.read(size)
