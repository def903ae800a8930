"""Resampled position embeddings beside open_clip's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bioclip_jax.convert.positions import resize_positions
from bioclip_jax.errors import UserError


@pytest.mark.parametrize(
    ("old", "new"), [(7, 8), (14, 7), (16, 24), (24, 16), (14, 15), (3, 13), (13, 2), (1, 4)]
)
def test_sizes_up_and_down_are_open_clips(old, new):
    import torch
    from open_clip.model import resize_pos_embed

    positions = np.random.default_rng(old).normal(size=(old * old + 1, 20)).astype(np.float32)
    state_dict = {"visual.positional_embedding": torch.from_numpy(positions.copy())}
    resize_pos_embed(state_dict, SimpleNamespace(visual=SimpleNamespace(grid_size=(new, new))))
    ours = resize_positions(positions, new)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, state_dict["visual.positional_embedding"].numpy(), atol=1e-5)


def test_the_right_size_is_left_alone():
    positions = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float16)
    assert resize_positions(positions, 7) is positions


def test_what_is_not_a_square_is_refused():
    with pytest.raises(UserError, match="12 patches"):
        resize_positions(np.zeros((13, 4), np.float32), 4)
