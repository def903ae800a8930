"""Labeled embeddings: in source order, cached, with unreadable images reported."""

import io

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.errors import UserError
from bioclip_jax.pipeline.sources import FolderSource
from bioclip_jax.predict.embedding.labeled_embeddings import embed_labeled
from bioclip_jax.predict.model import Model
from bioclip_jax.predict.vector_cache import VectorCache

LABELS = """filepath,genus,species,health
a.png,Malus,domestica,healthy
broken.jpg,Malus,domestica,
gone.jpg,Pyrus,communis,healthy
c.png,Pyrus,communis,diseased
b.png,Malus,sylvestris,
"""


@pytest.fixture
def source(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(random.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"no image at all")
    (tmp_path / "labels.csv").write_text(LABELS)
    return FolderSource(tmp_path, tmp_path / "labels.csv")


def test_embeddings_and_labels_match_and_unreadable_images_are_reported(bundle, source, tmp_path, capsys):
    labeled = embed_labeled(Model(bundle), source)
    assert [sample.key for sample in labeled.samples] == ["a.png", "c.png", "b.png"]
    assert labeled.indices.tolist() == [0, 3, 4]
    assert labeled.column("health") == ["healthy", "diseased", ""]
    assert labeled.skipped == {"not_an_image": 1, "no_image": 1}
    named = capsys.readouterr().err
    assert "skipped: broken.jpg cannot be read" in named
    assert "skipped: gone.jpg cannot be read (it is missing)" in named
    direct = Model(bundle).encode_image([tmp_path / name for name in ("a.png", "c.png", "b.png")])
    np.testing.assert_allclose(labeled.unit, direct, atol=1e-6)
    lengths = np.linalg.norm(labeled.features, axis=1)
    assert np.abs(lengths - 1).max() > 1e-3, (
        f"the vectors should not be normalized, their lengths are {lengths}"
    )


def test_a_second_run_uses_the_cache(bundle, source, tmp_path, monkeypatch):
    cache = VectorCache(tmp_path / "cache")
    first = embed_labeled(Model(bundle), source, cache=cache)
    model = Model(bundle)
    monkeypatch.setattr(
        type(model.embedder), "stream_indexed", lambda self, images, *rest, **more: iter(_unused(images))
    )
    second = embed_labeled(model, source, cache=cache)
    np.testing.assert_array_equal(first.features, second.features)
    assert second.samples == first.samples


def _unused(images):
    for _, image in images:
        # Unreadable images are tried again.
        assert image.name in ("image 1", "image 2"), f"{image.name} is encoded again"
    return []


def test_an_unknown_column_is_an_error_with_the_nearest_name(bundle, source):
    with pytest.raises(UserError, match="no column 'helth'; did you mean health"):
        embed_labeled(Model(bundle), source).column("helth")


def test_a_source_without_a_readable_image_is_an_error(bundle, tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    (tmp_path / "a.jpg").write_bytes(stream.getvalue()[:20])
    (tmp_path / "labels.csv").write_text("filepath,genus\na.jpg,Malus\nb.jpg,Malus\n")
    with pytest.raises(UserError, match="none of the 2 inputs can be read"):
        embed_labeled(Model(bundle), FolderSource(tmp_path, tmp_path / "labels.csv"))
