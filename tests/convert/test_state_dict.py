"""Conversion of state dicts in both directions, inference of architectures, and files that do not fit."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from open_clip_peer import numpy_state_dict, random_open_clip

from bioclip_jax.convert.infer import architecture_name, infer_architecture
from bioclip_jax.convert.open_clip import from_state_dict, to_state_dict
from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, TextConfig, VisionConfig, get_config, init_params, model_names

# Layer scale in both towers, heads of another width, an MLP ratio that rounds, patches that do not fill the
# image.
ODD = CLIPConfig(
    embed_dim=24,
    vision=VisionConfig(
        image_size=50, patch_size=12, width=40, layers=3, head_width=20, mlp_ratio=4.9231, ls_init_value=0.1
    ),
    text=TextConfig(
        width=32, heads=4, layers=2, context_length=9, vocab_size=100, mlp_ratio=2.0, ls_init_value=0.1
    ),
    quick_gelu=True,
)


@pytest.fixture(scope="module")
def odd_model():
    return random_open_clip(ODD)


def test_a_round_trip_is_bit_identical(odd_model):
    state_dict = numpy_state_dict(odd_model)
    back = to_state_dict(from_state_dict(state_dict, ODD), ODD)
    assert back.keys() == state_dict.keys()
    for key, tensor in state_dict.items():
        assert back[key].shape == tensor.shape and back[key].dtype == np.float32, key
        assert back[key].flags.c_contiguous, f"{key} would be written in another order"
        assert back[key].tobytes() == tensor.tobytes(), f"{key} is changed by the round trip"


def test_the_converted_tree_equals_the_initialized(odd_model):
    """The converter's tree has exactly the names and shapes of the model's own initialization."""
    ours = jax.eval_shape(lambda: init_params(ODD))
    theirs = from_state_dict(numpy_state_dict(odd_model), ODD)
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    assert jax.tree.map(np.shape, theirs) == jax.tree.map(lambda leaf: leaf.shape, ours)


def test_layer_scale_and_odd_sizes_give_open_clips_features(odd_model):
    import torch
    from flax import nnx

    from bioclip_jax.models import graphdef

    rng = np.random.default_rng(0)
    images, tokens = rng.normal(size=(2, 50, 50, 3)).astype(np.float32), rng.integers(1, 100, (3, 9))
    model = nnx.merge(graphdef(ODD), from_state_dict(numpy_state_dict(odd_model), ODD))
    ours = jax.jit(lambda images, tokens: model(images, tokens)[:2])(images, tokens)
    with torch.inference_mode():
        theirs = odd_model(torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(tokens))[:2]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-6)


def test_the_replay_projector_is_kept(odd_model):
    state_dict = numpy_state_dict(odd_model) | {"visual.continual_proj": np.full((40, 24), 0.25, np.float32)}
    params = from_state_dict(state_dict, ODD)
    assert (params["visual"]["continual_proj"] == 0.25).all()
    assert (to_state_dict(params, ODD)["visual.continual_proj"] == 0.25).all()


def test_half_precision_becomes_float32_exactly(odd_model):
    half = {key: tensor.astype(np.float16) for key, tensor in numpy_state_dict(odd_model).items()}
    back = to_state_dict(from_state_dict(half, ODD), ODD)
    assert all((back[key] == half[key].astype(np.float32)).all() for key in half)


def test_a_scale_of_one_element_is_a_scalar(odd_model):
    state_dict = numpy_state_dict(odd_model)
    params = from_state_dict(state_dict | {"logit_scale": state_dict["logit_scale"].reshape(1)}, ODD)
    assert params["logit_scale"].shape == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("visual.proj"), "1 tensors are missing, such as visual.proj"),
        (lambda d: d.update({"visual.attnpool.q": np.zeros(2)}), "visual.attnpool.q"),
        (lambda d: d.update({"ln_final.bias": np.zeros(31)}), r"ln_final.bias has shape \[31\].*\[32\]"),
        (
            lambda d: d.update({"visual.conv1.weight": np.zeros((40, 3, 12, 13))}),
            "visual.conv1.weight has shape",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_the_tensor(odd_model, change, message):
    state_dict = numpy_state_dict(odd_model)
    change(state_dict)
    with pytest.raises(UserError, match=message):
        from_state_dict(state_dict, ODD)


def _shapes_of(name: str) -> dict[str, np.ndarray]:
    """Return a state dict of an architecture without its memory: every tensor is one broadcast zero."""
    import torch
    from open_clip.model import CLIP

    with torch.device("meta"):
        model = CLIP(**get_config(name).to_open_clip())
    return {key: np.broadcast_to(np.float32(0), tensor.shape) for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "name", ["ViT-S-16-alt", "ViT-M-16-alt", "ViT-B-16-plus-240", "ViT-L-16-320", "ViT-g-14", "ViT-Test-16"]
)
def test_an_architecture_is_inferred_from_shapes(name):
    assert infer_architecture(_shapes_of(name)) == name


def test_shapes_that_fit_two_architectures_are_an_error():
    with pytest.raises(UserError, match="ViT-B-32 and ViT-B-32-quickgelu: choose one with --model"):
        infer_architecture(_shapes_of("ViT-B-32"))


def test_shapes_of_no_architecture():
    shapes = _shapes_of("ViT-Test-16")
    shapes["visual.conv1.weight"] = np.zeros((80, 3, 16, 16))
    with pytest.raises(UserError, match="no known architecture"):
        infer_architecture(shapes)
    with pytest.raises(UserError, match="not a ViT-CLIP"):
        infer_architecture({"weight": np.zeros(3)})


def test_names_of_architectures_at_any_image_size():
    for name in model_names():
        assert get_config(architecture_name(get_config(name))) == get_config(name)
    larger = dataclasses.replace(
        get_config("ViT-B-16"), vision=dataclasses.replace(get_config("ViT-B-16").vision, image_size=384)
    )
    assert architecture_name(larger) == "ViT-B-16"
    assert architecture_name(ODD) is None
