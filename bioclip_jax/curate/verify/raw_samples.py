"""Raw samples of tars and ArrayRecord files: stored bytes, unsafe names, and all defects between them."""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bioclip_jax.errors import UserError
from bioclip_jax.file_kinds import RECORD_SUFFIXES, suffix_of
from bioclip_jax.pipeline.sources import CAPTION_KINDS, IMAGE_KINDS, dot_note, split_name
from bioclip_jax.text import Taxon

from .findings import NOTES, Findings
from .tar_entries import Damage, Entry, entries

# Larger members are not read: one sample at a time is in memory.
LARGEST_IMAGE = 256 << 20
LARGEST_TEXT = 1 << 20

_LINKS = {b"1": "hard_link", b"2": "symbolic_link"}
_FOLDER = b"5"

# Limit of most file systems for one component of a path.
_MAX_NAME_BYTES = 255
_DRIVE = re.compile(r"[A-Za-z]:").match
_CONTROL = re.compile(r"[\0-\x1f\x7f]").search
_SHOWN_LENGTH = 120


@dataclass
class RawSample:
    """A stored sample, not decoded.

    position: its first byte in a tar, or its record number. image_kind: the image's extension, or "".
    captions: by type. interrupted: there is damage in or before it, which may hold what it lacks.
    """

    key: str
    position: int
    image: bytes = b""
    image_kind: str = ""
    captions: dict[str, bytes] = field(default_factory=dict)
    taxon: Taxon | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False


def is_records(path: Path) -> bool:
    """True for an ArrayRecord file, False for a tar."""
    return suffix_of(path) in RECORD_SUFFIXES


def read_samples(path: Path, findings: Findings) -> Iterator[RawSample]:
    """Yield a shard's samples as sources index them, and add defects between them to `findings`.

    Raises OSError if the file cannot be read.
    """
    return _record_samples(path, findings) if is_records(path) else _tar_samples(path, findings)


def read_key(path: Path, position: int) -> str:
    """Read the key of the sample at `position`. Raises OSError or ValueError if the file has changed."""
    if is_records(path):
        from bioclip_jax.pipeline.sources import RecordSource

        return RecordSource([path])[position].key
    with path.open("rb") as file:
        file.seek(0, 2)
        for entry in entries(_OffsetFile(file, position), file.tell() - position):
            if isinstance(entry, Entry) and (parts := split_name(entry.name.decode("utf-8", "replace"))):
                return parts[0]
    raise ValueError(f"{path} has no sample at byte {position}; it has changed meanwhile")


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
                findings.error("unsafe_member_name", where, f"{quoted(name)}: {reason}")
            if entry.type != b"0":
                _report_special_member(entry, name, where, findings)
                continue
            parts = split_name(name)
            if parts is None or "\ufffd" in name:
                reason = "it is not UTF-8" if parts else "it has no key or no extension"
                findings.error("wrong_member_name", where, f"{quoted(name)}: {reason}")
                if parts is None:
                    continue
            key, kind = parts
            if sample is None or key != sample.key:
                if sample:
                    yield sample
                sample, seen = RawSample(key, entry.start, interrupted=interrupted), set()
                interrupted = False
            if kind in seen:
                findings.error("duplicate_member", sample.key, f"{quoted(name)} is repeated at {where}")
                continue
            seen.add(kind)
            _add_file(sample, kind, entry, file, findings)
        if sample:
            yield sample


def _report_special_member(entry: Entry, name: str, where: str, findings: Findings) -> None:
    if kind := _LINKS.get(entry.type):
        target = entry.target.decode("utf-8", "replace")
        findings.error(kind, where, f"{quoted(name)} is a link to {quoted(target)}")
    elif entry.type != _FOLDER:
        findings.error(
            "special_member", where, f"{quoted(name)} is of type {quoted(entry.type.decode('latin-1'))}"
        )


def _add_file(sample: RawSample, kind: str, entry: Entry, file: BinaryIO, findings: Findings) -> None:
    """Add a member to its sample if it is an image, a caption or metadata."""
    extension, kind = kind, kind.lower()
    is_image = kind in IMAGE_KINDS
    if not is_image and kind not in CAPTION_KINDS and kind != "json":
        reason = dot_note(extension) or "a file that is neither image, caption nor metadata"
        findings.note("unknown_file", sample.key, reason)
        return
    if is_image and sample.image:
        findings.note("several_images", sample.key, "a sample of several images")
        return
    largest = LARGEST_IMAGE if is_image else LARGEST_TEXT
    if entry.size > largest:
        findings.error(
            "member_too_large", sample.key, f"{quoted(kind)} has {entry.size} bytes, more than {largest}"
        )
        sample.interrupted = sample.interrupted or is_image
        return
    file.seek(entry.data)
    content = file.read(entry.size)
    if len(content) < entry.size:
        raise OSError(f"the file was truncated while it was read, at byte {entry.data}")
    if is_image:
        sample.image, sample.image_kind = content, kind
    elif kind == "json":
        sample.metadata = _metadata(content, sample.key, findings)
    else:
        sample.captions[CAPTION_KINDS[kind]] = content


def _metadata(content: bytes, key: str, findings: Findings) -> Mapping[str, Any]:
    try:
        values = json.loads(content)
        # Lone surrogates can be read but not written again.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        return values
    findings.note("metadata_unreadable", key, "its .json is not a JSON object")
    return {}


def _record_samples(path: Path, findings: Findings) -> Iterator[RawSample]:
    from bioclip_jax.pipeline.sources import RecordSource

    if not path.stat().st_size:
        findings.error("empty_file", "byte 0", "the file is empty")
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
                raise TypeError("its key, image or metadata has a wrong type")
        except Exception as error:  # Riegeli, msgpack and wrong types raise errors of their own
            findings.error(
                "damaged_record", f"record {index}", str(error).splitlines()[0][:200] or repr(error)
            )
            continue
        if reason := unsafe(sample.key):
            findings.error(
                "unsafe_member_name", f"record {index}", f"its key is {quoted(sample.key)}: {reason}"
            )
        yield RawSample(sample.key, index, sample.image, "", captions, sample.taxon, sample.metadata)


class _OffsetFile:
    """View of a file from a byte offset on."""

    def __init__(self, file: BinaryIO, start: int):
        self._file, self._start = file, start

    def seek(self, position: int) -> None:
        self._file.seek(self._start + position)

    def read(self, size: int) -> bytes:
        return self._file.read(size)


def unsafe(name: str) -> str | None:
    """Return the reason why a member's name must not become a path; None for a safe name."""
    if name.startswith("/"):
        return "it is absolute"
    if ".." in name and ".." in name.split("/"):
        return "it leads out of its folder"
    if "\\" in name:
        return "it has a backslash"
    if _DRIVE(name):
        return "it begins with a drive letter"
    if _CONTROL(name):
        return "it has a control character"
    if 4 * len(name) > _MAX_NAME_BYTES and any(
        len(part.encode("utf-8", "replace")) > _MAX_NAME_BYTES for part in name.split("/")
    ):
        return f"it is longer than {_MAX_NAME_BYTES} bytes"
    return None


def safe_key(key: str) -> str:
    """Return a safe key unchanged, and an unsafe or non-UTF-8 key as the UUID derived from it."""
    if key and unsafe(key) is None and "\ufffd" not in key:
        return key
    return str(uuid.uuid5(uuid.NAMESPACE_URL, key))


def quoted(text: str) -> str:
    """Quote text for a terminal, with control characters escaped and long text shortened."""
    text = text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text) + '"'
