"""Writes a TreeOfLife shard: a tar whose bytes depend on nothing but its samples."""

import tarfile
from contextlib import ExitStack
from pathlib import Path

from bioclip_jax.files import atomic_write, json_text
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.text import PLAIN_TYPE, captions_from_taxon, complete_captions

# How image files begin, and the extension that says so in a shard.
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
    """Writes samples to one tar; a context manager. Until it ends well, the tar has another name.

    A sample becomes KEY.jpg (or what its image is), its ten caption files, and KEY.json if it has metadata.
    Members have no times, owners or modes of their own. Names of up to 100 ASCII bytes are plain ustar,
    longer ones are pax.
    """

    def __init__(self, path: str | Path):
        self._open = ExitStack()
        partial = self._open.enter_context(atomic_write(Path(path)))
        self._file = self._open.enter_context(partial.open("xb", buffering=_BUFFER))

    def write(self, sample: Sample) -> None:
        """Appends a sample; MissingCaption if neither its captions nor its taxon give it a name."""
        captions = sample.captions
        if sample.taxon is not None and not any(text.strip() for text in captions.values()):
            captions = captions_from_taxon(sample.taxon)
        captions = complete_captions(captions)
        if sample.image:
            self._add(f"{sample.key}.{image_kind(sample.image)}", sample.image)
        for name, text in captions.items():
            self._add(f"{sample.key}.{name}" + (".txt" if name != PLAIN_TYPE else ""), text.encode())
        if sample.metadata:
            # Escaped, since foreign metadata may hold halves of characters that UTF-8 does not have.
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
    """The file extension of encoded image bytes; "jpg" if they begin like none that is known."""
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "webp"
    if image[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((kind for magic, kind in _KINDS if image.startswith(magic)), "jpg")


def _header(name: str, size: int) -> bytes:
    """The member's header, without times and owners: tarfile's, from a template where only name and size differ."""
    if len(name) > _NAME_BYTES or not name.isascii() or size >= 8**11:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.PAX_FORMAT)
    field, digits = name.encode(), b"%011o" % size
    # The sum of all bytes, with that of the eleven zero digits taken out again.
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
# The checksum counts its own eight bytes as spaces, and the template's says so already.
_TEMPLATE_SUM = int(_TEMPLATE[148:154], 8)
