"""load_model and Model with every form of image."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import bioclip_jax
from bioclip_jax.errors import UserError
from bioclip_jax.predict.model import Model


@pytest.fixture(scope="module")
def model(model_directory):
    return bioclip_jax.load_model(f"local-dir:{model_directory}", batch_size=8)


@pytest.fixture(scope="module")
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8))


def test_paths_images_and_arrays_have_the_same_unit_vectors(model, picture, tmp_path):
    picture.save(tmp_path / "x.png")
    forms = [
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        picture,
        np.asarray(picture),
        picture.convert("RGBA"),
    ]
    vectors = model.encode_image(forms)
    assert vectors.dtype == np.float32 and vectors.shape == (5, model.config.embed_dim)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for form, vector in zip(forms, vectors):
        np.testing.assert_allclose(
            vector, vectors[0], atol=1e-6, err_msg=f"{type(form).__name__} differs from a path"
        )
    assert np.abs(model.encode_image(picture.rotate(90)) - vectors[0]).max() > 1e-3, (
        "every picture looks the same"
    )


def test_one_image_is_a_batch_of_one_and_four_dimensions_are_a_batch(model, picture):
    pixels = np.asarray(picture)
    assert model.encode_image(picture).shape == (1, model.config.embed_dim)
    assert model.encode_image(pixels).shape == (1, model.config.embed_dim)
    assert model.encode_image(np.stack([pixels, pixels])).shape == (2, model.config.embed_dim)
    assert model.encode_image([]).shape == (0, model.config.embed_dim)
    assert model.encode_text("Malus").shape == (1, model.config.embed_dim)


def test_more_images_than_a_batch_stay_in_order(model):
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (32, 32, 3), np.uint8) for _ in range(19)]
    together = model.encode_image(pictures)
    assert np.abs(together[17] - together[18]).max() > 1e-4
    np.testing.assert_allclose(together[[18, 3]], model.encode_image([pictures[18], pictures[3]]), atol=2e-6)


def test_sixteen_bit_images_keep_their_contrast(model):
    gradient = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    wide, narrow = Image.fromarray(gradient), Image.fromarray((gradient // 257).astype(np.uint8))
    import io

    buffer = io.BytesIO()
    wide.save(buffer, "PNG")
    np.testing.assert_allclose(model.encode_image(buffer.getvalue()), model.encode_image(narrow), atol=0.02)


@pytest.mark.parametrize("wrong", ["missing", "text", "float array", "folder"])
def test_an_invalid_image_is_named_in_the_message(model, tmp_path, wrong):
    (tmp_path / "note.jpg").write_text("no picture")
    images = {
        "missing": tmp_path / "nothing.jpg",
        "text": tmp_path / "note.jpg",
        "float array": np.zeros((4, 4, 3)),
        "folder": tmp_path,
    }
    with pytest.raises(UserError) as caught:
        model.encode_image([np.zeros((8, 8, 3), np.uint8), images[wrong]])
    named = "float64 [4, 4, 3]" if wrong == "float array" else str(images[wrong])
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_logit_scale_is_the_factor_not_its_logarithm(model, bundle):
    assert model.logit_scale == pytest.approx(60)
    assert isinstance(model, Model) and model.preprocess == bundle.preprocess


def test_importing_the_package_imports_no_framework():
    heavy = ("jax", "flax", "torch", "tensorflow")
    code = (
        f"import bioclip_jax, sys; dir(bioclip_jax); print([name for name in {heavy} if name in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]", f"import bioclip_jax brings in {completed.stdout}"


def test_unknown_names_of_the_package_are_attribute_errors():
    with pytest.raises(AttributeError, match="attribute TreeOfLife"):
        bioclip_jax.TreeOfLife  # noqa: B018


@pytest.mark.parametrize("name", ["RN50", "nothing/here"])
def test_an_unknown_model_name_is_an_error_with_pretrained_too(name):
    with pytest.raises(UserError, match=f"^no such (model|directory): {name}"):
        bioclip_jax.load_model(name, pretrained="openai")
