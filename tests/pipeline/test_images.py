"""Image decoding and training augmentation."""

import io
import math
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_shards import encoded, picture
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as torchvision_functional

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import (
    CAUSES,
    BadImage,
    ImageConfig,
    ReadOptions,
    TrainTransform,
    decode,
    read_image,
)
from bioclip_jax.pipeline.images.training import TRANSFORM_DRAWS, color_matrix, random_crop


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """The mean absolute difference of pixels."""
    assert a.shape == b.shape, f"{a.shape} is not {b.shape}"
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_decode_as_pillow_does(mode):
    data = encoded(picture(1, (123, 77), mode))
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGB"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("GIF", "P")]
    + [("TIFF", "RGB"), ("TIFF", "CMYK"), ("BMP", "RGB"), ("WEBP", "RGBA")],
)
def test_other_formats_and_modes_decode_as_pillow_converts_them(kind, mode):
    data = encoded(picture(2, (50, 70), mode), kind)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped():
    gray = np.asarray(picture(3, mode="L"))
    for values, kind in ((gray.astype(np.uint16) * 257, "PNG"), (gray.astype(np.int32) * 257, "TIFF")):
        np.testing.assert_array_equal(decode(encoded(Image.fromarray(values), kind))[..., 1], gray)
    floats = encoded(Image.fromarray(gray.astype(np.float32) / 255), "TIFF")
    np.testing.assert_array_equal(decode(floats)[..., 0], gray)


def test_a_jpeg_shrinks_while_decoding_but_not_below_the_shorter_side():
    data = encoded(picture(5, (640, 480)), quality=95)
    full = decode(data)
    small = decode(data, min_side=100)
    assert small.shape == (120, 160, 3)
    assert difference(small, cv2.resize(full, (160, 120), interpolation=cv2.INTER_AREA)) < 2
    assert decode(data, min_side=481).shape == full.shape


def test_scratch_memory_holds_the_pixels_and_a_small_one_is_not_used():
    data = encoded(picture(6))
    scratch = np.zeros(1 << 16, np.uint8)
    pixels = decode(data, scratch=scratch)
    assert np.shares_memory(pixels, scratch)
    np.testing.assert_array_equal(pixels, decode(data, scratch=np.zeros(100, np.uint8)))


JPEG = encoded(picture(7, (300, 200)))
PNG = encoded(picture(7, (300, 200)), "PNG")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (JPEG[: len(JPEG) // 2], "truncated"),
        (JPEG[:20], "truncated"),
        (PNG[: len(PNG) // 2], "truncated"),
        (PNG[:200] + bytes(50) + PNG[250:], "truncated"),
        (b"GIF89a", "truncated"),
        (b"A text file about apples.\n" * 20, "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (b"", "not_an_image"),
        (b"\xff\xd8", "not_an_image"),
    ],
)
def test_bad_images_have_a_cause(data, cause):
    with pytest.raises(BadImage) as error:
        decode(data)
    assert error.value.cause == cause and cause in CAUSES, str(error.value)


@pytest.mark.parametrize(("kind", "limit"), [("JPEG", 59_999), ("PNG", 119_999), ("GIF", 119_999)])
def test_bombs_are_not_decoded(kind, limit):
    data = encoded(picture(8, (400, 300), "L"), kind)
    for read in (decode, read_image):
        with pytest.raises(BadImage) as error:
            read(data, read=ReadOptions(max_pixels=limit))
        assert error.value.cause == "too_large", error.value
        assert np.asarray(read(data, read=ReadOptions(max_pixels=limit + 1))).size


def test_a_large_jpeg_is_decoded_at_half_its_size():
    data = encoded(picture(8, (401, 301)), quality=95)
    full = decode(data)
    read = ReadOptions(max_pixels=401 * 301 - 1)
    half = np.asarray(read_image(data, read))
    assert half.shape == (151, 201, 3)
    np.testing.assert_array_equal(decode(data, read=read), half)
    assert decode(data, min_side=70, read=read).shape == (76, 101, 3), (
        "a smaller fraction must still be possible"
    )
    assert difference(half, cv2.resize(full, (201, 151), interpolation=cv2.INTER_AREA)) < 2


def test_max_pixels_raises_pillows_limit(monkeypatch):
    data = encoded(picture(8, (400, 300), "L"), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50_000)
    module = sys.modules[decode.__module__]
    monkeypatch.setattr(module, "MAX_PIXELS", 100_000)
    with pytest.raises(BadImage) as error:
        read_image(data, ReadOptions(max_pixels=100_000))
    assert error.value.cause == "too_large"
    assert read_image(data, ReadOptions(max_pixels=120_000)).size == (400, 300)


@given(st.integers(0, len(JPEG) - 1), st.binary(min_size=1, max_size=40))
def test_damage_gives_pixels_or_a_bad_image(offset, noise):
    data = JPEG[:offset] + noise + JPEG[offset + len(noise) :]
    try:
        assert decode(data).dtype == np.uint8
    except BadImage as error:
        assert error.cause in CAUSES


sides = st.integers(1, 2000)
uniforms = st.lists(st.floats(0, 1, exclude_max=True), min_size=22, max_size=22)


@given(sides, sides, st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), st.floats(0.1, 1), uniforms)
def test_crops_lie_inside_the_image(height, width, scale, ratio, uniform):
    top, left, crop_height, crop_width = random_crop(
        height, width, tuple(sorted(scale)), (ratio, 1 / ratio), uniform
    )
    assert 0 <= top and 0 <= left and crop_height >= 1 and crop_width >= 1
    assert top + crop_height <= height and left + crop_width <= width


@pytest.mark.parametrize(("height", "width"), [(224, 224), (100, 900)])
def test_crops_are_distributed_as_torchvisions(height, width):
    config, rng = ImageConfig(), np.random.default_rng(0)
    ours = [
        random_crop(height, width, config.scale, config.ratio, row) for row in rng.random((2500, 22)).tolist()
    ]
    peer = RandomResizedCrop(224, config.scale, config.ratio)
    image = Image.new("L", (width, height))
    theirs = [peer.get_params(image, list(config.scale), list(config.ratio)) for _ in range(2500)]
    for name, actual, reference in zip(("top", "left", "height", "width"), zip(*ours), zip(*theirs)):
        # Equal distributions fall below 1e-4 once in 10,000 comparisons; a wrong one is far below it.
        p = stats.ks_2samp(actual, reference).pvalue
        assert p > 1e-4, f"{name}: means {np.mean(actual):.2f} and {np.mean(reference):.2f}, p = {p:.1e}"
    if height == width:
        whole = np.mean([crop == (0, 0, height, width) for crop in ours])
        assert 0.09 < whole < 0.125, f"{whole:.1%} of the crops are the whole image, 10.7 % are expected"


def draws(**fixed: float) -> np.ndarray:
    values = np.full(TRANSFORM_DRAWS, 0.5)
    for name, value in fixed.items():
        values[{"mirror": 22, "brightness": 23, "contrast": 24, "saturation": 25, "hue": 26}[name]] = value
    return values


WHOLE = {"scale": (1.0, 1.0), "ratio": (1.0, 1.0)}


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(224, 224), (500, 333), (231, 190), (700, 110)])
def test_the_resized_crop_is_torchvisions(mode, shape):
    rng = np.random.default_rng(1)
    photograph = picture(9, shape)
    shrunk = 0
    for size in (224, 96, 64):
        transform = TrainTransform(size, ImageConfig(interpolation=mode))
        for uniform in rng.random((5, TRANSFORM_DRAWS)):
            box = random_crop(shape[1], shape[0], (0.9, 1.0), (3 / 4, 4 / 3), uniform.tolist())
            expected = torchvision_functional.resized_crop(
                photograph, *box, [size, size], InterpolationMode(mode)
            )
            actual = transform(np.asarray(photograph), uniform)
            if max(box[2:]) > size:
                shrunk += 1
                np.testing.assert_array_equal(actual, np.asarray(expected), err_msg=f"{box} to {size}")
            else:
                # OpenCV's cubic has a = -0.75 where Pillow's has -0.5.
                assert difference(actual, np.asarray(expected)) < 1.5, f"{box} to {size}"
    assert shrunk >= 10, f"only {shrunk} of the 15 crops were shrunk"


def test_shrinking_does_not_alias():
    stripes = np.zeros((224, 224, 3), np.uint8)
    stripes[:, ::2] = 255
    small = TrainTransform(64, ImageConfig(**WHOLE))(stripes, draws())
    assert small.std() < 30, "one-pixel stripes must blur to gray"


def test_mirror_flips_half_the_images():
    image = np.asarray(picture(10, (64, 64)))
    transform = TrainTransform(64, ImageConfig(mirror=True, **WHOLE))
    np.testing.assert_array_equal(transform(image, draws(mirror=0.49)), image[:, ::-1])
    np.testing.assert_array_equal(transform(image, draws(mirror=0.51)), image)
    plain = TrainTransform(64, ImageConfig(**WHOLE))
    np.testing.assert_array_equal(plain(image, draws(mirror=0.1)), image)


@pytest.mark.parametrize(
    ("name", "adjust"),
    [
        ("brightness", torchvision_functional.adjust_brightness),
        ("contrast", torchvision_functional.adjust_contrast),
        ("saturation", torchvision_functional.adjust_saturation),
    ],
)
def test_color_jitter_matches_torchvision(name, adjust):
    image = picture(11, (64, 64))
    for uniform, factor in ((0.0, 0.6), (0.8, 1.24), (0.5, 1.0)):
        transform = TrainTransform(64, ImageConfig(**WHOLE, **{name: 0.4}))
        changed = transform(np.asarray(image), draws(**{name: uniform}))
        assert difference(changed, np.asarray(adjust(image, factor))) < 1.5, f"{name} by {factor}"


def test_hue_rotation_keeps_gray_and_luminance_and_matches_torchvision():
    gray = np.full((8, 8, 3), 120, np.uint8)
    transform = TrainTransform(8, ImageConfig(**WHOLE, hue=0.5))
    np.testing.assert_array_equal(transform(gray, draws(hue=0.9)), gray)
    weights = np.array([0.299, 0.587, 0.114])
    matrix = color_matrix(1, 1, 1, 0.2, 128)[:, :3]
    np.testing.assert_allclose(weights @ matrix, weights, atol=1e-12)
    np.testing.assert_allclose(color_matrix(1, 1, 1, 1.0, 128), np.eye(3, 4), atol=1e-12)
    # A third of the circle takes red towards the hue that torchvision's HSV turn takes it to.
    red = np.zeros((8, 8, 3), np.uint8) + np.array([150, 90, 90], np.uint8)
    turned = TrainTransform(8, ImageConfig(**WHOLE, hue=1 / 3))(red, draws(hue=1 - 1e-9))[0, 0]
    reference = np.asarray(torchvision_functional.adjust_hue(Image.fromarray(red), 1 / 3))[0, 0]
    assert turned.argmax() == reference.argmax(), f"{turned} and {reference}"


def test_min_side_is_enough_for_every_crop():
    config = ImageConfig(scale=(0.4, 1.0), ratio=(0.5, 2.0))
    transform = TrainTransform(64, config)
    rng = np.random.default_rng(2)
    side = transform.min_side
    crops = [
        random_crop(side, side, config.scale, config.ratio, row) for row in rng.random((2000, 22)).tolist()
    ]
    smallest = min(min(height, width) for _, _, height, width in crops)
    assert 63 <= smallest <= 75, f"crops of an image with a shorter side of {side} are as small as {smallest}"
    assert math.isclose(TrainTransform(64).min_side, 78, abs_tol=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": (0.0, 1.0)}, "image.scale"),
        ({"ratio": (2.0, 1.0)}, "image.ratio"),
        ({"hue": 0.6}, "image.hue is 0.6"),
        ({"mean": (0.5, 0.5)}, "image.mean"),
        ({"std": (0.5, 0.5, 0.0)}, "image.std"),
        ({"interpolation": "lanczos"}, "interpolation is 'lanczos'"),
        ({"resize_mode": "stretch"}, "resize_mode is 'stretch'"),
        ({"exif": "turn"}, "image.exif is 'turn'"),
        ({"transform": "pybioclp"}, "image.transform is 'pybioclp'; choose model or pybioclip"),
    ],
)
def test_invalid_image_configs_are_errors(fields, message):
    with pytest.raises(UserError, match=message):
        ImageConfig(**fields)


def test_lists_from_a_json_config_become_tuples():
    assert ImageConfig(mean=[0.5] * 3, scale=[0.5, 1.0]) == ImageConfig(mean=(0.5,) * 3, scale=(0.5, 1.0))
