"""Replay: two merged streams, each with its own order and batch size."""

from __future__ import annotations

import numpy as np
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.batches import REPLAY_STREAM, ReplayConfig, WithReplay, train_batches
from bioclip_jax.pipeline.order import Draws, Shuffled
from bioclip_jax.pipeline.sources import open_source
from bioclip_jax.text import CaptionConfig


def test_merged_streams_equal_the_single_streams(shards):
    def make(stream: int, batch: int, kind: str):
        return train_batches(
            open_source(shards),
            image_size=16,
            caption=CaptionConfig(types=(kind,)),
            seed=3,
            global_batch_size=batch,
            stream=stream,
        )

    both = WithReplay(make(0, 8, "sci"), make(REPLAY_STREAM, 4, "com"))
    tree, replay = make(0, 8, "sci"), make(REPLAY_STREAM, 4, "com")
    for _ in range(3):
        batch, alone, replayed = next(both), next(tree), next(replay)
        assert set(batch) == set(alone) | {f"replay_{name}" for name in replayed}
        for name, array in alone.items():
            np.testing.assert_array_equal(batch[name], array, err_msg=name)
        for name, array in replayed.items():
            np.testing.assert_array_equal(batch[f"replay_{name}"], array, err_msg=f"replay_{name}")
        assert batch["longest"] == 1 + batch["tokens"].argmax(axis=1).max()
    both.close()


def test_streams_draw_independently_of_each_other():
    first, second = (Shuffled(7, 1000, stream) for stream in (0, REPLAY_STREAM))
    same = sum(first.index(p) == second.index(p) for p in range(1000))
    assert same < 20, f"{same} of 1000 positions have the same sample"
    main, replay = Draws(7), Draws(7, REPLAY_STREAM)
    assert (main.uniforms(0, 4) != replay.uniforms(0, 4)).all()
    assert main.caption_draw(5) != replay.caption_draw(5)
    assert sorted(second.index(p) for p in range(1000)) == list(range(1000))


def test_the_shortest_sufficient_length_is_chosen():
    caption = CaptionConfig(lengths=(16, 32, 90))
    lengths = [caption.shortest_length(longest, 77) for longest in (3, 16, 17, 32, 33, 77)]
    assert lengths == [16, 16, 32, 32, 77, 77]
    with pytest.raises(UserError, match=r"caption.lengths is \(2,\)"):
        CaptionConfig(lengths=(2,))


def test_distinct_texts_are_padded_to_a_multiple(shards):
    caption = CaptionConfig(types=("sci",), unique_texts=True)
    batches = train_batches(
        open_source(shards),
        image_size=16,
        caption=caption,
        seed=0,
        global_batch_size=24,
        texts_multiple_of=12,
    )
    batch = next(batches)
    distinct = len(np.unique(batch["tokens"], axis=0))
    power = max(16, 1 << (distinct - 1).bit_length())
    assert len(batch["tokens"]) == -(-power // 12) * 12, (
        f"{distinct} distinct texts in {len(batch['tokens'])} rows"
    )
    batches.close()


def test_invalid_replay_configs_are_errors():
    with pytest.raises(UserError, match="config.replay.batch_size is -1"):
        ReplayConfig(batch_size=-1)
    with pytest.raises(UserError, match="config.replay.caption.unique_texts"):
        ReplayConfig(caption=CaptionConfig(unique_texts=True))
