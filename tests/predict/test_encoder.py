"""The compiled encoders against the plain model, for any number of rows."""

import jax
import numpy as np
import pytest
from flax import nnx

from bioclip_jax.distributed import MeshConfig, make_mesh
from bioclip_jax.models import get_config, graphdef, init_params, normalize_images
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import encoder as encoder_module
from bioclip_jax.predict.encoder import Encoder
from bioclip_jax.text import Tokenizer

CONFIG = get_config("ViT-Test-16")
PREPROCESS = Preprocess(CONFIG.vision.image_size, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
# "!" is token 0, like the padding; the last text is truncated at the context length.
TEXTS = ["Malus domestica", "!", "", "a! b!!", "Aves " * 20, "Ursus", "a photo of an apple. " * 40, "ü&amp;é"]


@pytest.fixture(scope="module")
def params():
    return init_params(CONFIG, seed=3)


@pytest.fixture(scope="module")
def encoder():
    return Encoder(CONFIG, PREPROCESS, make_mesh(MeshConfig()), batch_size=16)


@pytest.fixture(scope="module")
def images():
    side = CONFIG.vision.image_size
    return np.random.default_rng(0).integers(0, 256, (41, side, side, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(params, images):
    """Image and text features of the model alone, the texts at the full context."""
    model = nnx.merge(graphdef(CONFIG), params)
    tokens = Tokenizer(CONFIG.text.context_length)(TEXTS)
    image_features, text_features, _ = jax.jit(model)(
        normalize_images(images, PREPROCESS.mean, PREPROCESS.std), tokens
    )
    return np.asarray(image_features), np.asarray(text_features)


@pytest.mark.parametrize("number", [1, 16, 41])
def test_images_equal_the_model_alone(encoder, params, images, expected, number):
    batches = list(encoder.images(params, iter(images[:number])))
    assert sum(map(len, batches)) == number
    np.testing.assert_allclose(np.concatenate(batches), expected[0][:number], atol=2e-6)


@pytest.mark.parametrize("copies", [1, 40], ids=["one batch", "many batches"])
def test_texts_equal_the_model_at_full_context(encoder, params, expected, copies):
    encoded = encoder.texts(params, TEXTS * copies)
    np.testing.assert_allclose(encoded, np.tile(expected[1], (copies, 1)), atol=2e-6)
    distances = 1 - expected[1] @ expected[1].T + np.eye(len(TEXTS))
    assert distances.min() > 1e-4, "the texts' vectors are too alike for their order to be seen"


def test_empty_inputs_give_no_rows(encoder):
    assert list(encoder.images({}, iter([]))) == []
    assert encoder.texts({}, []).shape == (0, CONFIG.embed_dim)


def test_new_parameters_reuse_the_compiled_towers(encoder, params, images):
    compiled = []
    list(encoder.images(params, iter(images[:20])))
    encoder.texts(params, TEXTS)
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    other = jax.tree.map(lambda x: x + 0.01, params)
    compiled.clear()
    first = encoder.texts(other, TEXTS)
    list(encoder.images(other, iter(images[:33])))
    assert compiled == [], "new parameters must not compile the towers again"
    assert np.abs(first - encoder.texts(params, TEXTS)).max() > 1e-3, "the new parameters were not used"


def test_training_only_parameters_are_ignored(encoder, params, images, expected):
    visual = {**params["visual"], "continual_proj": params["visual"]["proj"]}
    trained = {**params, "visual": visual, "logit_bias": np.float32(-10)}
    np.testing.assert_allclose(next(encoder.images(trained, iter(images[:16]))), expected[0][:16], atol=2e-6)


def test_rows_are_sharded_over_the_devices(encoder):
    assert encoder.mesh.size == 8
    assert Encoder(CONFIG, PREPROCESS, encoder.mesh, batch_size=10).batch_size == 16


def test_the_next_batch_is_dispatched_before_a_result_is_awaited(encoder, params, images, monkeypatch):
    events = []
    towers = {name: getattr(encoder, name) for name in ("image_features", "text_features")}
    for name, tower in towers.items():
        monkeypatch.setattr(
            encoder, name, lambda *inputs, tower=tower: (events.append("dispatched"), tower(*inputs))[1]
        )
    fetch = encoder_module._fetch
    monkeypatch.setattr(
        encoder_module, "_fetch", lambda *result: (events.append("awaited"), fetch(*result))[1]
    )
    expected = ["dispatched", "dispatched", "awaited", "dispatched", "awaited", "awaited"]
    assert len(list(encoder.images(params, iter(images)))) == 3
    assert events == expected, "the device has to wait for the host between two batches of images"
    events.clear()
    encoder.texts(params, [f"{text} {number}" for number in range(150) for text in TEXTS])
    assert events[:3] == expected[:3] and events.count("dispatched") == events.count("awaited"), (
        "the device has to wait for the host between two batches of texts"
    )


def test_at_most_two_batches_are_read_ahead_of_the_consumer(encoder, params, images):
    read = []
    stream = encoder.images(params, (read.append(1) or image for image in np.tile(images, (4, 1, 1, 1))))
    for consumed in range(1, 6):
        next(stream)
        assert len(read) == 16 * (consumed + 1), (
            f"{len(read)} images were read when {consumed} batches of 16 were consumed: memory would grow"
        )


@pytest.mark.parametrize("number", [1, 60, 64, 65, 500])
def test_an_accelerator_compiles_two_image_programs_and_one_for_texts(encoder, number, monkeypatch):
    assert encoder._image_rows(3) == 8 and encoder._image_rows(9) == 16, "a CPU pads to a power of two"
    wide = Encoder(CONFIG, PREPROCESS, encoder.mesh, batch_size=512)
    monkeypatch.setattr(wide, "_on_cpu", False)
    assert wide._image_rows(number) == (64 if number <= 64 else 512)
    assert wide._text_rows(number) == 256


def test_compiler_options_of_nvidia_reach_xla(params, images, expected, monkeypatch, capsys):
    """XLA's CPU compiler parses the GPU's options too, so the options' names and values are checked."""
    monkeypatch.setattr(encoder_module, "on_nvidia", lambda device: True)
    monkeypatch.setattr(encoder_module, "_IMAGE_OPTIONS", encoder_module._IMAGE_OPTIONS | {"xla_no_such": 1})
    gpu = Encoder(CONFIG, PREPROCESS, make_mesh(MeshConfig()), batch_size=16)
    features = np.concatenate(list(gpu.images(params, iter(images))))
    np.testing.assert_allclose(features, expected[0], atol=2e-6)
    np.testing.assert_allclose(gpu.texts(params, TEXTS), expected[1], atol=2e-6)
    assert capsys.readouterr().err.count("no option xla_no_such; it is ignored") == 1
    assert len(gpu._compiled) == 2
