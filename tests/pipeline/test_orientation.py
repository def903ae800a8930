"""EXIF orientation equals Pillow's exif_transpose; `ignore` gives the pixels as stored."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_shards import encoded, picture
from PIL import Image, ImageOps

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import (
    ImageConfig,
    ReadOptions,
    TrainTransform,
    decode,
    open_image,
    read_image,
    to_rgb,
)
from bioclip_jax.pipeline.images.orientation import jpeg_orientation

IGNORE = ReadOptions(exif="ignore")


def oriented(kind: str, orientation: int, mode: str = "RGB", **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    return encoded(picture(4, (60, 40), mode), kind, exif=exif, **options)


def upright(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def stored(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_turned_upright_or_left_as_stored(kind, orientation):
    data = oriented(kind, orientation)
    for actual in (decode(data), np.asarray(read_image(data))):
        np.testing.assert_array_equal(actual, upright(data))
    # Pillow itself rotates a TIFF when loading it, so the peers do too.
    for actual in (decode(data, read=IGNORE), np.asarray(read_image(data, IGNORE))):
        np.testing.assert_array_equal(actual, stored(data))
    if kind != "TIFF":
        assert open_image(data).size == (60, 40), "open_image must not rotate"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_pil_image_is_rotated_like_its_file(kind):
    data = oriented(kind, 6)
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.open(io.BytesIO(data)))), upright(data))
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.open(io.BytesIO(data)), "ignore")), stored(data))
    already = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(to_rgb(already)), upright(data), err_msg="rotated twice")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes_are_turned(mode):
    data = oriented("JPEG", 8, mode)
    np.testing.assert_array_equal(decode(data), upright(data))


def jpeg_with(*segments: bytes) -> bytes:
    """A small JPEG with further segments (marker and content) before its own."""
    data = encoded(picture(4, (60, 40)))
    return data[:2] + b"".join(segments) + data[2:]


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def tiff(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    entry = struct.pack(f"{order}HHI", 0x0112, kind, 1) + struct.pack(
        f"{order}{'HI'[kind == 4]}", orientation
    )
    return (
        (b"II*\0" if order == "<" else b"MM\0*")
        + struct.pack(f"{order}IH", 8, 1)
        + entry.ljust(12, b"\0")
        + bytes(4)
    )


@pytest.mark.parametrize(
    "segments",
    [
        (segment(0xE1, b"Exif\0\0" + tiff(6, ">")),),
        (segment(0xE1, b"Exif\0\0" + tiff(6, "<")),),
        (segment(0xE1, b"Exif\0\0" + tiff(6, ">", kind=4)),),
        # After more than 4,096 bytes of color profile or XMP.
        (segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)), segment(0xE1, b"Exif\0\0" + tiff(6))),
        (
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 9000),
            segment(0xE1, b"Exif\0\0" + tiff(6)),
        ),
        (segment(0xFE, b"a comment that says Exif\0\0"), segment(0xE1, b"Exif\0\0" + tiff(6))),
        (b"\xff\xff\xff" + segment(0xE1, b"Exif\0\0" + tiff(6)),),
    ],
)
def test_exif_is_read_anywhere_in_the_header(segments):
    assert jpeg_orientation(jpeg_with(*segments)) == 6
    assert decode(jpeg_with(*segments)).shape == (60, 40, 3)


@pytest.mark.parametrize(
    "segments",
    [
        (),
        (segment(0xFE, b"Exif\0\0" + tiff(6)),),
        (segment(0xE1, b"Exif\0\0"),),
        (segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),),
        (segment(0xE1, b"Exif\0\0" + tiff(9)),),
        (segment(0xE1, b"Exif\0\0" + tiff(0)),),
    ],
)
def test_missing_and_damaged_exif_rotate_nothing(segments):
    assert decode(jpeg_with(*segments)).shape == (40, 60, 3)


@given(st.binary(max_size=80))
def test_any_exif_gives_an_orientation(content):
    for prefix in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert jpeg_orientation(jpeg_with(segment(0xE1, b"Exif\0\0" + prefix + content))) in range(1, 9)


def test_training_applies_exif_unless_ignored():
    data = oriented("JPEG", 6)
    assert TrainTransform(32).read == ReadOptions(exif="apply", strict=True)
    ignoring = TrainTransform(32, ImageConfig(exif="ignore"))
    assert decode(data, read=ignoring.read).shape == (40, 60, 3)
    assert ImageConfig(exif="ignore").preprocess(32).read.exif == "ignore", (
        "evaluation during training must read as training"
    )


def test_invalid_read_options_are_errors():
    with pytest.raises(UserError, match="exif is 'turn'; choose apply or ignore"):
        ReadOptions(exif="turn")
    with pytest.raises(UserError, match="max_pixels is 0"):
        ReadOptions(max_pixels=0)
