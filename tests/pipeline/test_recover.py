"""Recovery of images that Pillow refuses: PNGs with long texts, truncated JPEGs."""

import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from made_shards import encoded, picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bioclip_jax.pipeline.images import BadImage, ReadOptions, decode, image_header, open_image, read_image

PICTURE = picture(1, (320, 240))
STRICT = ReadOptions(strict=True)


def png_with(kind: str) -> bytes:
    noise = np.random.default_rng(0).bytes(1_500_000).hex()
    info, options = PngInfo(), {}
    if kind == "profile":
        options["icc_profile"] = bytes.fromhex(noise)
    elif kind == "xmp":
        info.add_itxt("XML:com.adobe.xmp", noise, zip=True)
    else:
        info.add_text("Comment", noise, zip=kind == "compressed")
    return encoded(PICTURE, "PNG", pnginfo=info, **options)


@pytest.mark.parametrize("kind", ["profile", "xmp", "compressed"])
def test_pngs_with_long_texts_are_read(kind):
    data = png_with(kind)
    with pytest.raises(ValueError, match="MAX_TEXT_CHUNK"):
        Image.open(io.BytesIO(data)).load()
    for actual in (decode(data), np.asarray(read_image(data, STRICT)), np.asarray(open_image(data))):
        np.testing.assert_array_equal(actual, np.asarray(PICTURE))
    assert image_header(data) == ("PNG", 320, 240)


def test_a_truncated_png_with_a_long_text_is_refused():
    with pytest.raises(BadImage) as error:
        decode(png_with("xmp")[:-90_000])
    assert error.value.cause == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_slightly_truncated_jpegs_are_read_and_reported(mode, progressive):
    data = encoded(PICTURE.convert(mode), quality=95, progressive=progressive)
    whole, messages = decode(data), []
    assert np.array_equal(np.asarray(read_image(data, on_truncated=messages.append)), whole) and not messages

    ended = read_image(data[:-2], on_truncated=messages.append)
    np.testing.assert_array_equal(np.asarray(ended), whole)
    cut = data[: -len(data) // 40]
    actual = np.asarray(read_image(cut, on_truncated=messages.append))
    assert actual.shape == whole.shape
    np.testing.assert_array_equal(decode(cut), actual)
    if progressive:
        assert np.abs(actual.astype(int) - whole).max() < 12, "only the finest detail may be missing"
        assert messages == ["its last bytes are missing"] * 2
    else:
        np.testing.assert_array_equal(actual[:200], whole[:200])
        assert messages[0] == "its last bytes are missing"
        assert messages[1].startswith("the last ") and messages[1].endswith("% of its rows are missing")
    for read in (decode, read_image):
        with pytest.raises(BadImage) as error:
            read(cut, read=STRICT)
        assert error.value.cause == "truncated"


@pytest.mark.parametrize("progressive", [False, True])
def test_heavily_truncated_jpegs_are_refused(progressive):
    data = encoded(PICTURE, quality=95, progressive=progressive)
    for share in (0.8, 0.5, 0.1):
        with pytest.raises(BadImage) as error:
            # A progressive JPEG's first scans show the whole picture coarsely.
            decode(data[: int(len(data) * (min(share, 0.5) if progressive else share))])
        assert error.value.cause == "truncated", f"{share} of the bytes"


def test_a_truncated_jpeg_is_rotated_by_its_exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, quality=95, exif=exif)
    cut = data[: -len(data) // 40]
    assert read_image(cut).size == (240, 320)
    assert open_image(cut).getexif()[0x0112] == 6


@pytest.mark.parametrize("components", [0, 4, 255])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_with_a_wrong_component_count_is_a_bad_image(progressive, components):
    data = bytearray(encoded(PICTURE, quality=90, progressive=progressive))
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[frame + 9] = components
    with pytest.raises(BadImage):
        decode(bytes(data))


@given(st.integers(2, 40_000))
def test_any_truncation_gives_most_of_the_image_or_a_bad_image(length):
    data = JPEG[: min(length, len(JPEG) - 1)]
    try:
        actual = np.asarray(read_image(data))
    except BadImage as error:
        assert error.cause in ("truncated", "not_an_image"), error.cause
        return
    np.testing.assert_array_equal(actual[: int(0.85 * 240)], WHOLE[: int(0.85 * 240)])


JPEG = encoded(PICTURE, quality=90)
WHOLE = simplejpeg.decode_jpeg(JPEG, "RGB")


def palette_with_transparency() -> bytes:
    return encoded(picture(2, (50, 40), "P"), "PNG", transparency=bytes(range(200)))


def test_a_palette_with_transparency_converts_without_a_warning():
    data = palette_with_transparency()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actual = decode(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(actual, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_pillows_warnings_never_reach_standard_error(tmp_path):
    (tmp_path / "a.png").write_bytes(palette_with_transparency())
    # Between the sizes of Pillow's warning and of its refusal.
    (tmp_path / "large.png").write_bytes(encoded(Image.new("1", (10_000, 9_000)), "PNG"))
    program = (
        "import sys, warnings; from bioclip_jax.pipeline.images import open_image, to_rgb\n"
        "for path in sys.argv[1:]: image = open_image(path)\n"
        "to_rgb(open_image(sys.argv[1]))\n"
        "from PIL import Image; Image.open(sys.argv[1]).convert('RGB')"
    )
    command = [
        sys.executable,
        "-W",
        "default",
        "-c",
        program,
        str(tmp_path / "a.png"),
        str(tmp_path / "large.png"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert (ran.returncode, ran.stderr) == (0, "")
