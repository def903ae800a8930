"""Write TreeOfLife shards: tars whose bytes depend only on their samples."""

import tarfile
from contextlib import ExitStack
from pathlib import Path

from bioclip_jax.files import atomic_write, json_text
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import PLAIN_TYPE, captions_from_taxon, complete_captions

# Magic bytes of image files, and the extension in a shard.
_KINDS = (
    (b"\xff\xd8", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"P6", "ppm"),
    (b"P5", "pgm"),
    (b"\0\0\0\x0cjP", "jp2"),
)

_BLOCK = tarfile.BLOCKSIZE
_NAME_BYTES = 100
_BUFFER = 1 << 20


class TarShardWriter:
    """Context manager that writes samples to one tar, which appears once it is complete.

    A sample becomes KEY.jpg (or its image's extension), ten caption files, and KEY.json if it has metadata.
    Members have constant times, owners and modes. Names up to 100 ASCII bytes use plain ustar, longer ones
    pax.
    """

    def __init__(self, path: str | Path):
        self._open = ExitStack()
        partial = self._open.enter_context(atomic_write(Path(path)))
        self._file = self._open.enter_context(partial.open("xb", buffering=_BUFFER))

    def write(self, sample: Sample) -> None:
        """Append a sample. Raises MissingCaption if neither its captions nor its taxon name it."""
        captions = sample.captions
        if sample.taxon is not None and not any(text.strip() for text in captions.values()):
            captions = captions_from_taxon(sample.taxon)
        captions = complete_captions(captions)
        if sample.image:
            self._add(f"{sample.key}.{image_kind(sample.image)}", sample.image)
        for name, text in captions.items():
            self._add(f"{sample.key}.{name}" + (".txt" if name != PLAIN_TYPE else ""), text.encode())
        if sample.metadata:
            # Escaped, because foreign metadata may hold lone surrogates, which UTF-8 cannot encode.
            self._add(f"{sample.key}.json", json_text(dict(sample.metadata), sort_keys=True).encode())

    def _add(self, name: str, content: bytes) -> None:
        self._file.write(_header(name, len(content)) + content + bytes(-len(content) % _BLOCK))

    def __enter__(self) -> "TarShardWriter":
        return self

    def __exit__(self, *error) -> None:
        if error[0] is not None:
            self._open.__exit__(*error)
            return
        with self._open:
            self._file.write(bytes(2 * _BLOCK))


def image_kind(image: bytes) -> str:
    """Return the file extension of encoded image bytes; "jpg" for an unknown format."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    if image[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((kind for magic, kind in _KINDS if image.startswith(magic)), "jpg")


def _header(name: str, size: int) -> bytes:
    """Return the header that tarfile writes, filled into a template: only name and size vary."""
    if len(name) > _NAME_BYTES or not name.isascii() or size >= 8**11:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.PAX_FORMAT)
    field, digits = name.encode(), b"%011o" % size
    # The sum of all bytes: the template's, minus its eleven zero digits.
    checksum = _TEMPLATE_SUM + sum(field) + sum(digits) - 11 * ord("0")
    return b"".join(
        (
            field,
            bytes(_NAME_BYTES - len(field)),
            _BEFORE_SIZE,
            digits,
            _AFTER_SIZE,
            b"%06o\0" % checksum,
            _AFTER_SUM,
        )
    )


_TEMPLATE = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_BEFORE_SIZE, _AFTER_SIZE, _AFTER_SUM = _TEMPLATE[100:124], _TEMPLATE[135:148], _TEMPLATE[155:]
# The template's checksum already counts its own eight bytes as spaces.
_TEMPLATE_SUM = int(_TEMPLATE[148:154], 8)
