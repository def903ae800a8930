"""A folder of shards with every kind of defect, and the findings expected for each."""

import gzip
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_jax.text import CAPTION_FILES, Taxon, captions_from_taxon

Files = list[tuple[str, bytes]]

PUBLISHED = ("scientific_name", "taxonomic_name", "sci", "taxon", "taxonTag")
_ALL = tuple(CAPTION_FILES)


@dataclass(frozen=True)
class Bad:
    """A shard's bytes and expected results: numbers of samples and sound samples, findings by kind."""

    content: bytes
    samples: int
    sound: int
    errors: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


def taxon(number: int) -> Taxon:
    lineage = "Animalia", "Chordata", "Aves", "Passeriformes", "Thraupidae", "Geospiza", f"sp{number}"
    return Taxon(*lineage, common_name=f"finch {number}")


def picture(number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    channels = [np.sin(x * (number + 3) + c + np.cos(y * 5 + number)) * 110 + 128 for c in range(3)]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def sample(
    number: int,
    key: str | None = None,
    image: bytes | None = None,
    kind: str = "jpg",
    captions: Sequence[str] = _ALL,
    **changed: bytes,
) -> Files:
    """The files of one sample, valid by default; `changed` replaces captions by other bytes."""
    key = f"s{number}" if key is None else key
    texts = {name: text.encode() for name, text in captions_from_taxon(taxon(number)).items()} | changed
    image = encoded(picture(number)) if image is None else image
    return [(f"{key}.{kind}", image), *((f"{key}.{name}.txt", texts[name]) for name in captions)]


def tar(*files: tuple[str, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Build a tar of files and of members without content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format, errors="surrogateescape") as archive:
        for file in files:
            if isinstance(file, tarfile.TarInfo):
                archive.addfile(file)
                continue
            member = tarfile.TarInfo(file[0])
            member.size = len(file[1])
            archive.addfile(member, io.BytesIO(file[1]))
    return stream.getvalue()


def _header_of(content: bytes, name: str) -> int:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.getmember(name).offset


def _cut_off() -> Bad:
    """Five samples, truncated within the image of the fifth."""
    content = tar(*(file for number in range(100, 105) for file in sample(number)))
    return Bad(content[: _header_of(content, "s104.jpg") + 700], 4, 4, {"cut_off_tar": 1})


def _cut_between() -> Bad:
    """Truncated between members: everything before is complete, the rest is unknown."""
    content = tar(*sample(110), *sample(111))
    return Bad(
        content[: _header_of(content, "s111.sci.txt")], 2, 2, {"cut_off_tar": 1}, {"caption_missing": 1}
    )


def _damaged() -> Bad:
    """The header of the second image is overwritten: that sample has no image, the third is valid."""
    content = bytearray(tar(*sample(120), *sample(121), *sample(122)))
    header = _header_of(bytes(content), "s121.jpg")
    content[header : header + 100] = b"\x7f" * 100
    return Bad(bytes(content), 3, 2, {"damaged_header": 1})


def _names() -> Bad:
    few = {"captions": ("taxonTag_com",)}
    return Bad(
        tar(
            *sample(200, "../escaped", **few),
            *sample(201, "/tmp/absolute", **few),
            *sample(202, "sub/../../escaped", **few),
            *sample(203, "..\\windows", **few),
            *sample(204, "C:drive", **few),
            *sample(205, "bell\a", **few),
            *sample(206, "x" * 300, **few),
            *sample(207, "latin\udce9", **few),
            *sample(208, "a folder/fine é", **few),
            ("no_extension", b"x"),
            (".hidden", b"x"),
            ("folder/.jpg", encoded(picture(0))),
        ),
        samples=8,
        sound=8,
        # The name with the backslash also lacks a key, because its last component begins with a dot.
        errors={"unsafe_member_name": 14, "wrong_member_name": 7},
        notes={"caption_missing": 8},
    )


def _duplicates() -> Bad:
    """Sample s1 is also in a-good.tar; s300 is repeated, and only its second copy is sound."""
    once = sample(301)
    return Bad(
        tar(*sample(1), *sample(300, image=b""), *once, *once[2:4], ("s301.png", b"x"), *sample(300)),
        samples=4,
        sound=2,
        errors={"duplicate_key": 2, "no_image": 1, "duplicate_member": 2},
        notes={"several_images": 1},
    )


def _captions() -> Bad:
    return Bad(
        tar(
            *sample(400, common_name="Würger".encode("latin-1")),
            *sample(401, com=b"", taxon=b" \n"),
            *sample(402, captions=PUBLISHED),
            *sample(403, captions=()),
            *sample(404, captions=("sci",), sci=b"\xff\xfe"),
            *sample(405, sci=b"a photo of Malus domestica."),
            *sample(406, com=b"a photo of apple."),
            *sample(
                407,
                scientific_name=b"Malus domestica",
                sci=b"a photo of Malus domestica.",
                captions=PUBLISHED,
            ),
            *sample(408, captions=(), key="plain"),
            ("plain.txt", b"a photo of family and friends"),
            ("plain.json", b"{nonsense"),
            ("plain.cls", b"7"),
        ),
        samples=9,
        sound=4,
        errors={"caption_not_utf8": 2, "caption_empty": 2, "no_caption": 2, "captions_disagree": 3},
        notes={"caption_missing": 2, "metadata_unreadable": 1, "unknown_file": 1},
    )


def png_bomb(side: int = 60_000) -> bytes:
    """A small PNG whose header claims side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_bomb() -> bytes:
    """A JPEG whose frame header claims 65,000 x 65,000 pixels."""
    content = bytearray(encoded(picture(0)))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(content)


def _images() -> Bad:
    photo = picture(5)
    sixteen = Image.fromarray(np.asarray(photo.convert("L"), np.uint16) * 257)
    cut = [encoded(photo)[:-300], encoded(photo, "PNG")[:300]]
    bad = [png_bomb(), png_bomb(14_000), jpeg_bomb(), *cut, b"<html>", b""]
    unusual = [
        (encoded(photo, progressive=True), "jpg"),
        (encoded(photo.convert("CMYK")), "jpg"),
        (encoded(photo.convert("L")), "jpg"),
        (encoded(photo, "PNG"), "png"),
        (encoded(photo, "WEBP"), "webp"),
        (encoded(photo, "GIF"), "gif"),
        (encoded(photo, "GIF", save_all=True, append_images=[picture(6)]), "gif"),
        (encoded(sixteen, "PNG"), "png"),
        (encoded(sixteen, "TIFF"), "tif"),
        (encoded(photo, "PNG"), "jpg"),
    ]
    files = [file for n, image in enumerate(bad) for file in sample(500 + n, image=image)]
    files += [
        file for n, (image, kind) in enumerate(unusual) for file in sample(600 + n, image=image, kind=kind)
    ]
    return Bad(
        tar(*files),
        samples=17,
        sound=10,
        errors={"too_large": 3, "truncated": 2, "not_an_image": 1, "no_image": 1},
        notes={
            "progressive_jpeg": 1,
            "cmyk": 1,
            "grayscale": 3,
            "png": 3,
            "webp": 1,
            "gif": 2,
            "animated": 1,
            "tiff": 1,
            "sixteen_bit": 2,
            "wrong_extension": 1,
        },
    )


def _links() -> Bad:
    def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        return info

    return Bad(
        tar(
            member("folder", tarfile.DIRTYPE),
            member("s700.jpg", tarfile.SYMTYPE, "/etc/passwd"),
            member("../s701.jpg", tarfile.SYMTYPE, "../../outside/secret.tar"),
            member("s702.jpg", tarfile.LNKTYPE, "s703.jpg"),
            *sample(703),
            member("pipe.jpg", tarfile.FIFOTYPE),
            member("disk.jpg", tarfile.BLKTYPE),
        ),
        samples=1,
        sound=1,
        errors={"symbolic_link": 2, "hard_link": 1, "special_member": 2, "unsafe_member_name": 1},
    )


def bad_shards() -> dict[str, Bad]:
    """All shards by name, a valid one first."""
    good = tar(*(file for number in range(4) for file in sample(number)))
    return {
        "a-good.tar": Bad(good, 4, 4),
        "behind-end.tar": Bad(tar(*sample(800)) + b"a signature", 1, 1, notes={"data_after_end": 1}),
        "captions.tar": _captions(),
        "cut-between.tar": _cut_between(),
        "cut-off.tar": _cut_off(),
        "damaged.tar": _damaged(),
        "duplicates.tar": _duplicates(),
        "empty.tar": Bad(b"", 0, 0, {"empty_file": 1}),
        "images.tar": _images(),
        "joined.tar": Bad(tar(*sample(801)) + tar(*sample(802)) + tar(*sample(803)), 3, 3, {"joined_tar": 2}),
        "links.tar": _links(),
        "names.tar": _names(),
        "nothing.tar": Bad(tar(), 0, 0, notes={"no_samples": 1}),
        "packed.tar": Bad(gzip.compress(good), 0, 0, {"compressed_tar": 1}),
        "page.tar": Bad(b"<html>404 Not Found</html>" * 100, 0, 0, {"not_a_tar": 1}),
    }


# Findings about the other files of the folder.
OTHERS = {
    "a-good.tar.index": {"outdated_index": 1},
    "broken.tar": {"linked_file": 1},
    "folder": {"linked_file": 1},
    "linked.tar": {"linked_file": 1},
    "loop.tar": {"linked_file": 1},
    "more.tar.gz": {"compressed_tar": 1},
    "notes.md": {"not_a_shard": 1},
    "pipe.tar": {"not_a_shard": 1},
    "sizes.json": {"sizes_disagree": 3},
}


def make_bad_folder(parent: Path) -> Path:
    """Write parent/bad, with links to parent/outside, and return it."""
    folder, outside = parent / "bad", parent / "outside"
    folder.mkdir()
    outside.mkdir()
    shards = bad_shards()
    for name, bad in shards.items():
        (folder / name).write_bytes(bad.content)
    (outside / "secret.tar").write_bytes(tar(*sample(900)))
    (folder / "linked.tar").symlink_to("../outside/secret.tar")
    (folder / "folder").symlink_to("../outside")
    (folder / "broken.tar").symlink_to("nowhere.tar")
    (folder / "loop.tar").symlink_to("loop.tar")
    os.mkfifo(folder / "pipe.tar")
    (folder / "more.tar.gz").write_bytes(shards["packed.tar"].content)
    (folder / "a-good.tar.index").write_bytes(b"BJTARIX1" + b"\0" * 28)
    (folder / "notes.md").write_text("to do: clean up")
    # One shard is not listed, one has a wrong number, one does not exist.
    sizes = {name: bad.samples for name, bad in shards.items()} | {"cut-off.tar": 5, "gone.tar": 7}
    del sizes["captions.tar"]
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return folder
