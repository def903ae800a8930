"""The table of architectures beside open_clip's own."""

from __future__ import annotations

import dataclasses

import open_clip
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.models import CLIPConfig, get_config, model_names

_SHARED = sorted(set(model_names()) & set(open_clip.list_models()))


def _plain_vits() -> dict[str, dict]:
    """open_clip's plain ViTs with CLIP's text tower, identified by the keys of its configuration files."""
    plain = {}
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        known = {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"}
        vision = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "ls_init_value"}
        text = {"context_length", "vocab_size", "width", "heads", "layers"}
        if (
            config.keys() <= known
            and config["vision_cfg"].keys() <= vision
            and config["text_cfg"].keys() <= text
        ):
            if isinstance(config["vision_cfg"]["layers"], int):
                plain[name] = config
    return plain


def test_every_plain_vit_of_open_clip_is_known_and_no_other():
    assert sorted(_plain_vits()) == _SHARED
    ours = set(model_names()) - set(_SHARED)
    assert all(name.startswith(("ViT-Test-", "ViT-Mini-")) for name in ours), (
        f"{ours} are neither open_clip's nor small"
    )
    assert len(_plain_vits()) >= 30, "open_clip's files have changed their format: too few are compared"


@pytest.mark.parametrize("name", _SHARED)
def test_architectures_equal_open_clips(name):
    theirs = open_clip.get_model_config(name)
    assert CLIPConfig.from_open_clip(theirs) == get_config(name)
    assert CLIPConfig.from_open_clip(get_config(name).to_open_clip()) == get_config(name)
    given = get_config(name).to_open_clip()
    assert given["vision_cfg"] == theirs["vision_cfg"]
    assert given["text_cfg"] == theirs["text_cfg"]
    assert given.get("quick_gelu", False) == theirs.get("quick_gelu", False)


def test_an_unknown_name_suggests_the_closest():
    with pytest.raises(UserError, match="unknown model 'ViT-L14'.*ViT-L-14"):
        get_config("ViT-L14")


def _others() -> list[str]:
    ours = set(model_names())
    return [name for name in open_clip.list_models() if name not in ours]


def test_unsupported_towers_are_rejected():
    """A model loaded with the wrong tower would run with wrong results, so all others must be rejected."""
    accepted = []
    for name in _others():
        try:
            CLIPConfig.from_open_clip(open_clip.get_model_config(name))
        except UserError as error:
            assert (
                "not supported" in str(error)
                or "not an open_clip CLIP" in str(error)
                or "ResNet" in str(error)
            ), error
        else:
            accepted.append(name)
    assert not accepted, f"{accepted} would be read as plain ViTs"


@pytest.mark.parametrize(
    ("tower", "entry"),
    [
        ("vision_cfg", {"pool_type": "avg"}),
        ("vision_cfg", {"no_ln_pre": True}),
        ("vision_cfg", {"qk_norm": True}),
        ("vision_cfg", {"image_size": [224, 448]}),
        ("text_cfg", {"no_causal_mask": True}),
        ("text_cfg", {"hf_tokenizer_name": "bert-base-uncased"}),
        ("text_cfg", {"norm_kwargs": {"eps": 1e-6}}),
        ("text_cfg", {"invented": 1}),
    ],
)
def test_an_unsupported_entry_is_named(tower, entry):
    model_cfg = get_config("ViT-B-16").to_open_clip()
    model_cfg[tower] |= entry
    with pytest.raises(UserError, match=next(iter(entry))):
        CLIPConfig.from_open_clip(model_cfg)


def test_entries_with_default_values_are_accepted():
    model_cfg = get_config("ViT-B-16").to_open_clip()
    model_cfg["vision_cfg"] |= {
        "pool_type": "tok",
        "patch_dropout": 0.5,
        "timm_model_name": None,
        "image_size": [224, 224],
    }
    model_cfg["text_cfg"] |= {"pool_type": "argmax", "norm_kwargs": {}}
    assert CLIPConfig.from_open_clip(model_cfg | {"custom_text": True}) == get_config("ViT-B-16")


def test_derived_sizes():
    huge = get_config("ViT-H-14").vision
    assert (huge.heads, huge.mlp_width, huge.grid, huge.tokens) == (16, 5120, 16, 257)
    # Pixels that do not fill a patch are cut off, as by a convolution.
    assert dataclasses.replace(huge, image_size=230).grid == 16
    assert get_config("ViT-bigG-14").vision.mlp_width == 8192
