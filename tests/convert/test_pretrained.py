"""Pretrained tags and repositories, compared with the real open_clip's."""

from __future__ import annotations

import subprocess
import sys

import open_clip
import pytest
from open_clip.pretrained import get_pretrained_cfg

from bioclip_jax.convert import pretrained
from bioclip_jax.errors import UserError
from bioclip_jax.models import model_names


@pytest.mark.parametrize("architecture", model_names())
def test_tags_and_repositories_equal_open_clips(architecture):
    known = set(open_clip.list_models())
    theirs = (
        {}
        if architecture not in known
        else {
            tag: get_pretrained_cfg(architecture, tag)["hf_hub"]
            for tag in open_clip.list_pretrained_tags_by_model(architecture)
        }
    )
    ours = {tag: pretrained.repository(architecture, tag) for tag in pretrained.tags(architecture)}
    # A trailing slash means the usual file names, which are the ones that are loaded.
    assert {f"{name.removeprefix('hf-hub:')}/" for name in ours.values()} == set(theirs.values())
    assert ours == {tag: f"hf-hub:{name.rstrip('/')}" for tag, name in theirs.items()}
    assert list(ours) == list(theirs), "in another order than open_clip lists them"


def test_the_only_tag_is_the_default():
    only = pretrained.repository("ViT-B-32-256")
    assert only == pretrained.repository("ViT-B-32-256", "datacomp_s34b_b86k")


@pytest.mark.parametrize(
    "architecture, tag, named",
    [
        ("ViT-B-16", None, "laion2b_s34b_b88k"),
        ("ViT-B-16", "laion2b", "laion2b_s34b_b88k"),
        ("ViT-Mini-16", None, "no pretrained weights"),
        ("ViT-Mini-16", "openai", "no pretrained weights"),
        ("ViT-B-61", "openai", "ViT-B-16"),
    ],
)
def test_a_wrong_choice_is_one_line(architecture, tag, named):
    with pytest.raises(UserError) as caught:
        pretrained.repository(architecture, tag)
    assert named in str(caught.value) and architecture in str(caught.value) and "\n" not in str(caught.value)


def test_listing_imports_no_jax():
    code = (
        "from bioclip_jax.convert import tags; from bioclip_jax.models import model_names;"
        "[tags(name) for name in model_names()];"
        "import sys; print([name for name in ('jax', 'torch') if name in sys.modules])"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"
