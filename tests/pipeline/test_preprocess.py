"""The evaluation transform matches open_clip exactly."""

import io

import numpy as np
import pytest
import torch
from made_shards import encoded, picture
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.images import (
    OPENAI_MEAN,
    OPENAI_STD,
    BadImage,
    ImageConfig,
    Preprocess,
    ReadOptions,
    open_image,
)

RESIZE_MODES = ("shortest", "squash", "longest")
SIZES = [(224, 224), (300, 200), (200, 301), (17, 900), (640, 481), (100, 99), (225, 224), (3, 5), (1000, 40)]


def peer_pixels(preprocess: Preprocess, image: Image.Image) -> torch.Tensor:
    """open_clip's normalized floats, [3, size, size]."""
    config = PreprocessCfg(**preprocess.to_open_clip() | {"size": preprocess.size})
    return image_transform_v2(config, is_train=False)(image)


def assert_equal(preprocess: Preprocess, image: Image.Image) -> None:
    pixels = preprocess(image)
    assert pixels.shape == (preprocess.size, preprocess.size, 3) and pixels.dtype == np.uint8
    floats = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    difference = ((floats - mean) / std - peer_pixels(preprocess, image)).abs().max().item()
    assert difference == 0, (
        f"{preprocess.resize_mode} of a {image.size} {image.mode} image differs by {difference}"
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize_mode", RESIZE_MODES)
def test_every_size_has_open_clips_pixels(resize_mode, size):
    for interpolation in ("bicubic", "bilinear"):
        assert_equal(Preprocess(resize_mode=resize_mode, interpolation=interpolation), picture(1, size))
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert_equal(Preprocess(336, *imagenet, resize_mode=resize_mode), picture(1, size))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "P", "1", "I;16", "I", "F", "YCbCr"])
@pytest.mark.parametrize("resize_mode", RESIZE_MODES)
def test_every_mode_has_open_clips_pixels(resize_mode, mode):
    if mode == "I;16":
        image = open_image(
            encoded(Image.fromarray(np.asarray(picture(2, (90, 70), "L")).astype(np.uint16) * 3), "PNG")
        )
        assert image.mode == "I;16"
    else:
        image = picture(2, (90, 70), mode)
    assert_equal(Preprocess(64, resize_mode=resize_mode), image)
    assert_equal(Preprocess(100, resize_mode=resize_mode, fill_color=255), image)


@pytest.mark.shared_data
def test_photographs_have_open_clips_pixels(shared_data):
    paths = sorted((shared_data / "produce/val/images").glob("*/*.jpg"))[::24]
    for number, path in enumerate(paths):
        image = open_image(path)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(path)), err_msg=str(path))
        # Cropped to different shapes, because these photographs have one size.
        image = image.crop((number, 2 * number, 256 - 17 * number, 250))
        image = image.convert(("RGB", "L", "CMYK", "RGBA")[number % 4])
        for resize_mode in RESIZE_MODES:
            assert_equal(Preprocess(resize_mode=resize_mode), image)


def test_preprocess_ignores_exif_as_open_clip():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(picture(3, (60, 40)), exif=exif)))
    assert_equal(Preprocess(32), image)
    np.testing.assert_array_equal(Preprocess(32)(image), Preprocess(32)(picture_as_stored(image)))


def picture_as_stored(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image))


def test_preprocess_cfg_round_trip():
    preprocess = Preprocess(336, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "bilinear", "longest", 7)
    assert Preprocess.from_open_clip(preprocess.to_open_clip()) == preprocess
    assert set(preprocess.to_open_clip()) == set(PreprocessCfg.__dataclass_fields__)
    assert Preprocess.from_open_clip({}) == Preprocess(224, OPENAI_MEAN, OPENAI_STD, "bicubic", "shortest", 0)
    parsed = Preprocess.from_open_clip({"size": 256, "mean": None, "interpolation": "random", "new": 1})
    assert parsed == Preprocess(256)
    with pytest.raises(UserError, match="not square"):
        Preprocess.from_open_clip({"size": [224, 336]})


@pytest.mark.parametrize(
    ("mode", "exif", "text"),
    [
        ("squash", "apply", "squashed to 32 x 32, bicubic"),
        ("shortest", "ignore", "shorter side to 32, center crop, bicubic, not turned by EXIF"),
        ("longest", "apply", "longer side to 32, padded, bicubic"),
    ],
)
def test_descriptions_equal_those_in_written_results(mode, exif, text):
    # Another wording would evaluate a resumed suite again.
    assert Preprocess(32, resize_mode=mode, read=ReadOptions(exif=exif)).describe() == text


def test_image_config_gives_the_evaluation_transform():
    config = ImageConfig(mean=(0.4, 0.4, 0.4), resize_mode="squash", interpolation="bilinear")
    assert config.preprocess(96) == Preprocess(96, (0.4, 0.4, 0.4), OPENAI_STD, "bilinear", "squash")


def test_a_very_thin_image_is_refused():
    line = Image.new("RGB", (1, 60_000))
    with pytest.raises(BadImage, match="too thin") as refused:
        Preprocess()(line)
    assert refused.value.cause == "too_thin"
    assert Preprocess(resize_mode="squash")(line).shape == (224, 224, 3)
