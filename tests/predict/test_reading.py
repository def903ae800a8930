"""Options for reading images: EXIF, size limits and truncated JPEGs, in Python and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageOps

import bioclip_jax as bj
from bioclip_jax.cli import main
from bioclip_jax.errors import UserError
from bioclip_jax.evaluate import Evaluator
from bioclip_jax.pipeline.images import Preprocess, ReadOptions
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.preprocess import load_pixels
from bioclip_jax.text import Taxon

EXIF = Image.Exif()
EXIF[0x0112] = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One image: rotated by EXIF, rotated in its pixels, and as stored."""
    folder = tmp_path_factory.mktemp("turned")
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    picture = Image.fromarray(np.stack([x * 2, y * 3, (x * y) % 251], -1).astype(np.uint8))
    picture.save(folder / "turned.png", exif=EXIF)
    picture.save(folder / "stored.png")
    ImageOps.exif_transpose(Image.open(folder / "turned.png")).save(folder / "upright.png")
    return folder


def vectors(capsys, arguments: list[str]) -> np.ndarray:
    assert main(arguments) == 0
    return np.load(arguments[arguments.index("--output") + 1])


def test_embed_applies_exif_unless_ignored(folder, model_directory, tmp_path, capsys):
    files = [str(folder / f"{name}.png") for name in ("turned", "upright", "stored")]
    command = ["embed", *files, "--model", str(model_directory), "--output", str(tmp_path / "a.npy")]
    turned, upright, stored = vectors(capsys, command)
    np.testing.assert_allclose(turned, upright, atol=1e-6)
    assert np.abs(turned - stored).max() > 1e-3, "the test's picture looks the same when it is turned"
    turned, upright, stored = vectors(capsys, [*command, "--exif", "ignore"])
    np.testing.assert_allclose(turned, stored, atol=1e-6)
    # The cache keeps the vectors of the two options apart.
    for _ in range(2):
        np.testing.assert_allclose(vectors(capsys, [*command, "--cache"])[0], upright, atol=1e-6)
        np.testing.assert_allclose(
            vectors(capsys, [*command, "--cache", "--exif", "ignore"])[0], stored, atol=1e-6
        )


def scores(capsys, arguments: list[str]) -> dict[str, float]:
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["predictions"]
    return {row["file_name"].rpartition("/")[2]: row["score"] for row in rows if row["classification"] == "a"}


def test_predict_and_the_python_api_read_alike(folder, model_directory, capsys):
    command = ["predict", str(folder), "--model", str(model_directory), "--cls", "a,b"]
    applied = scores(capsys, command)
    assert applied["turned.png"] == pytest.approx(applied["upright.png"], abs=1e-6)
    ignored = scores(capsys, [*command, "--exif", "ignore"])
    assert ignored["turned.png"] == pytest.approx(applied["stored.png"], abs=1e-6) != applied["turned.png"]
    for reading, expected in ((None, applied), (ReadOptions(exif="ignore"), ignored)):
        classifier = bj.CustomLabelsClassifier(["a", "b"], bj.load_model(model_directory, reading=reading))
        path = folder / "turned.png"
        for image in (str(path), Image.open(path), path.read_bytes()):
            rows = classifier.predict([image])
            score = {row["classification"]: row["score"] for row in rows}["a"]
            assert score == pytest.approx(expected["turned.png"], abs=1e-6), type(image)


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_index_and_search_apply_the_exif_option(folder, model_directory, tmp_path, capsys, exif):
    pytest.importorskip("lancedb", reason="an index needs the extra [search]")
    options = ["--model", str(model_directory), "--exif", exif, "--json"]
    assert (
        main(["index", "build", str(folder / "turned.png"), "--output", str(tmp_path / "index"), *options])
        == 0
    )
    capsys.readouterr()
    query = folder / ("upright.png" if exif == "apply" else "stored.png")
    assert main(["index", "search", str(tmp_path / "index"), str(query), *options]) == 0
    assert json.loads(capsys.readouterr().out)["neighbours"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_sixteen_bit_images_in_memory_are_scaled_like_files():
    gray = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    picture = Image.fromarray(gray)
    pixels = load_pixels(picture, Preprocess(64))
    np.testing.assert_array_equal(pixels[..., 0], np.round(gray / 257))


def cut_off(path, size=(160, 120)):
    Image.effect_noise(size, 90).convert("RGB").save(path, quality=95)
    content = path.read_bytes()
    path.write_bytes(content[: -len(content) // 40])
    return path


def test_truncated_jpegs_are_read_and_counted_unless_strict(folder, model_directory, tmp_path, capsys):
    cut = cut_off(tmp_path / "cut.jpg")
    command = [
        "predict",
        str(cut),
        str(folder / "stored.png"),
        "--model",
        str(model_directory),
        "--cls",
        "a,b",
    ]
    command += ["--json"]
    assert main(command) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert len(result["truncated"]) == 1 and result["unreadable"] == [] and len(result["predictions"]) == 4
    assert result["truncated"][0].startswith(f"{cut}: the last "), result["truncated"]
    assert (
        f"read 1 image whose end is missing ({cut}: the last" in printed.err
        and "--strict refuses" in printed.err
    )
    assert main([*command, "--strict"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (
        result["truncated"] == [] and len(result["unreadable"]) == 1 and str(cut) in result["unreadable"][0]
    )
    model = bj.load_model(model_directory, reading=ReadOptions(strict=True))
    with pytest.raises(UserError, match="truncated"):
        model.encode_image([cut])


def test_max_pixels_limits_images_with_advice(folder, model_directory, capsys):
    command = ["predict", str(folder / "stored.png"), "--model", str(model_directory), "--cls", "a,b"]
    assert main([*command, "--max-pixels", "6143"]) == 2
    assert "96 x 64 pixels are more than 6,143); make it smaller, or raise the limit with --max-pixels" in (
        capsys.readouterr().err
    )
    assert main([*command, "--max-pixels", "6144"]) == 0


def test_an_image_that_pillow_warns_about_is_read(model_directory, tmp_path, capsys):
    # 92 megapixels, as from a herbarium's scanner.
    Image.new("1", (9600, 9600)).save(tmp_path / "scan.png")
    command = ["predict", str(tmp_path / "scan.png"), "--model", str(model_directory), "--cls", "a,b"]
    assert main(command) == 0
    assert "Warning" not in capsys.readouterr().err


def test_resume_is_refused_with_other_reading_options(folder, model_directory, tmp_path, capsys):
    command = ["predict", str(folder), "--model", str(model_directory), "--cls", "a,b", "--resume"]
    command += ["--output", str(tmp_path / "a.csv")]
    assert main(command) == 0
    before = (tmp_path / "a.csv").read_bytes()
    assert main([*command, "--exif", "ignore"]) != 0 or (tmp_path / "a.csv").read_bytes() != before


def test_evaluation_applies_the_reading_options(folder, model_directory, tmp_path, capsys):
    rows = [f"{name}.png,Plantae,Malus,{name}" for name in ("turned", "upright", "stored")]
    (tmp_path / "labels.csv").write_text("\n".join(["filepath,kingdom,genus,species", *rows]) + "\n")
    command = [
        "eval",
        "zero-shot",
        "--model",
        str(model_directory),
        "--images",
        str(folder),
        "--no-cache",
        "--json",
    ]
    command += ["--labels", str(tmp_path / "labels.csv"), "--text-type", "sci"]
    for options, expected in (([], "upright"), (["--exif", "ignore"], "stored")):
        assert main([*command, *options, "--output", str(tmp_path / expected)]) == 0
        result = json.loads(capsys.readouterr().out)
        assert ("not turned by EXIF" in result["transform"]) == (expected == "stored"), result["transform"]
        reading = ReadOptions(exif="ignore") if options else None
        vectors = (
            Evaluator(str(model_directory), cache=False, reading=reading).vectors(_Pictures(folder)).features
        )
        np.testing.assert_allclose(vectors[0], vectors[("upright", "stored").index(expected) + 1], atol=1e-5)


class _Pictures(list):
    """Return a source of the folder's images."""

    def __init__(self, folder):
        names = ("turned", "upright", "stored")
        super().__init__(
            Sample(name, (folder / f"{name}.png").read_bytes(), {}, Taxon(genus=name)) for name in names
        )
