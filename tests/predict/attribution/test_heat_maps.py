"""Heat maps: exactness of occlusion, completeness of gradients, and evidence that is known."""

from __future__ import annotations

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.convert import ModelBundle
from bioclip_jax.errors import UserError
from bioclip_jax.models import get_config, graphdef, init_params, normalize_images
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import Model, Rank
from bioclip_jax.predict.attribution import candidate_targets, heat_map, masked_encoder, windows
from bioclip_jax.predict.attribution.heat_maps import explain_pixels, heat_maps, unmasked_vector
from bioclip_jax.predict.attribution.targets import LabelTarget
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, LearnedClassifier, TreeOfLifeClassifier
from bioclip_jax.predict.learn import LearnedHead, fit_familiarity
from bioclip_jax.predict.learn.linear import Linear
from bioclip_jax.predict.taxa import build_taxa
from bioclip_jax.text import Taxon

METHODS = ("occlusion", "gradient")


def random_model(seed: int) -> Model:
    """ViT-Mini-8 with random weights, whose grid has 6 x 6 patches."""
    config = get_config("ViT-Mini-8")
    params = jax.tree.map(np.array, init_params(config, seed=seed))
    params["logit_scale"] = np.float32(math.log(60))
    return Model(ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Mini-8", "a test"))


@pytest.fixture(scope="module")
def vit() -> Model:
    return random_model(3)


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy gray background, the same with a striped square on some patches, and these patches."""
    background = np.random.default_rng(1).integers(110, 140, (48, 48, 3), np.uint8)
    planted = background.copy()
    planted[8:24, 24:40, 0] = 255
    planted[8:24:2, 24:40] = 0
    inside = np.zeros((6, 6), bool)
    inside[1:3, 3:5] = True
    return background, planted, inside


@pytest.fixture(scope="module")
def target(vit, scene) -> LabelTarget:
    """A square against its background, each the vector of its own image: only the square decides."""
    background, planted, _ = scene
    weights = 30 * np.stack([unmasked_vector(vit, planted), unmasked_vector(vit, background)])
    return LabelTarget(
        {"classification": "square"}, weights, np.zeros(2, np.float32), np.array([True, False])
    )


def test_all_patches_give_the_model_s_own_vector(vit, scene):
    features = masked_encoder(vit).features(scene[1], np.ones((1, 36), bool))
    np.testing.assert_allclose(features[0], unmasked_vector(vit, scene[1]), atol=2e-6)


@pytest.mark.parametrize("kept", [1, 7, 35])
def test_removed_patches_are_as_if_absent_from_the_sequence(vit, scene, kept):
    """The tower with fewer tokens, as patch dropout runs it, has the same vectors."""
    random = np.random.default_rng(kept)
    patches = np.sort(np.stack([random.permutation(36)[:kept] for _ in range(5)]))
    gates = np.zeros((5, 36), bool)
    np.put_along_axis(gates, patches, True, axis=1)
    clip = nnx.merge(graphdef(vit.config), vit.embedder.params)
    transform = vit.embedder.preprocess
    images = normalize_images(np.repeat(scene[1][None], 5, axis=0), transform.mean, transform.std)
    shorter = clip.project_image(clip.pool_image(images, patches))
    np.testing.assert_allclose(masked_encoder(vit).features(scene[1], gates), shorter, atol=3e-6)


def test_gradients_are_those_of_a_finite_difference(vit, scene, target):
    encoder, gates = masked_encoder(vit), np.full((1, 36), 0.7, np.float32)
    gradient = encoder.gradients(scene[1], gates, target.linear(unmasked_vector(vit, scene[1])))[0]
    step = 0.05
    for patch in (0, 9, 16, 35):
        sides = np.repeat(gates, 2, axis=0)
        sides[:, patch] += (step, -step)
        up, down = target.log_probability(encoder.features(scene[1], sides))
        assert gradient[patch] == pytest.approx((up - down) / (2 * step), rel=0.05, abs=2e-3), patch


@pytest.mark.parametrize("method", METHODS)
def test_planted_evidence_has_most_of_the_map(vit, scene, target, method):
    _, planted, inside = scene
    [drawn] = heat_maps(vit, planted, [target], method=method)
    positive = np.maximum(drawn.values, 0)
    share = positive[inside].sum() / positive.sum()
    # The square is 4 of 36 patches.
    assert share > 0.6, f"{share:.0%} of the map of {method} lies on the square"
    top = np.argsort(-drawn.values.ravel())[:4]
    assert inside.ravel()[top].sum() >= 3, "the four strongest patches are the square's"


@pytest.mark.parametrize("method", METHODS)
def test_removing_the_strongest_patches_lowers_the_score_more_than_others(vit, scene, target, method):
    _, planted, _ = scene
    [drawn] = heat_maps(vit, planted, [target], method=method)

    def deletion(values: np.ndarray) -> float:
        """Mean probability while patches are removed, the largest values first."""
        order = np.argsort(-values.ravel())
        kept = np.ones((10, 36), bool)
        for number in range(10):
            kept[number, order[: 2 * number]] = False
        return float(np.exp(target.log_probability(masked_encoder(vit).features(planted, kept))).mean())

    random = [deletion(np.random.default_rng(seed).random(36)) for seed in range(8)]
    assert deletion(drawn.values) < min(random) < deletion(-drawn.values)


def test_both_methods_agree_on_planted_evidence(vit, scene, target):
    occlusion, gradient = (heat_maps(vit, scene[1], [target], method=method)[0].values for method in METHODS)
    assert np.corrcoef(occlusion.ravel(), gradient.ravel())[0, 1] > 0.7


def test_maps_depend_on_the_weights(vit, scene, target):
    """A map that only shows edges would be the same for another model (Adebayo et al. 2018)."""
    other = random_model(4)
    planted = scene[1]
    first, second = (
        heat_maps(model, planted, [target], method="occlusion")[0].values.ravel() for model in (vit, other)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.6


def test_parts_of_the_gradient_add_up(vit, scene, target):
    [drawn] = heat_maps(vit, scene[1], [target], method="gradient")
    difference = drawn.log_probability - drawn.without
    assert drawn.values.sum() == pytest.approx(difference, rel=0.1, abs=0.05)


def test_occlusion_of_one_patch_is_its_fall(vit, scene, target):
    [drawn] = heat_maps(vit, scene[1], [target], method="occlusion", window=1)
    kept = np.ones((2, 36), bool)
    kept[1, 9] = False
    whole, without = target.log_probability(masked_encoder(vit).features(scene[1], kept))
    assert drawn.values.ravel()[9] == pytest.approx(whole - without, abs=1e-5)
    assert (drawn.method, drawn.window) == ("occlusion", 1)


@given(st.integers(2, 24).flatmap(lambda grid: st.tuples(st.just(grid), st.integers(1, grid - 1))))
def test_windows_cover_each_patch(sizes):
    grid, side = sizes
    inside = windows(grid, side)
    assert (inside.sum(axis=1) == side**2).all() and inside.any(axis=0).all()
    assert len(inside) == math.ceil(grid / side) ** 2


def test_taxa_at_every_rank_and_labels(vit, scene, tmp_path):
    rows = [f"Animalia,P{i % 2},C{i % 3},O{i % 4},F{i % 5},G{i // 2},s{chr(97 + i)}" for i in range(20)]
    (tmp_path / "n.csv").write_text("kingdom,phylum,class,order,family,genus,species\n" + "\n".join(rows))
    build_taxa(tmp_path / "n.csv", vit, tmp_path / "taxa.safetensors", templates=["a photo of {}."])
    taxa = TreeOfLifeClassifier(vit, tmp_path / "taxa.safetensors", temperature=2.0)
    vector = unmasked_vector(vit, scene[1])
    for classifier, rank in ((taxa, Rank.SPECIES), (taxa, Rank.GENUS), (taxa, Rank.KINGDOM)):
        for one in candidate_targets(classifier, vector, 3, rank):
            assert np.exp(one.log_probability(vector[None])[0]) == pytest.approx(one.row["score"], rel=1e-3)
            weights, bias, own = one.linear(vector)
            logits = weights @ vector + bias
            share = np.exp(logits[own]).sum() / np.exp(logits).sum()
            assert share == pytest.approx(one.row["score"], rel=1e-3), "all taxa are among the rivals"
    labels = CustomLabelsClassifier(["square", "dog", "gray"], vit, cache=False)
    _, explained = explain_pixels(labels, scene[1], k=2, maps=1)
    assert [one.row["classification"] for one, _ in explained] == [
        row["classification"] for row in labels.predict(scene[1], k=2)
    ]
    assert explained[0][1] is not None and explained[1][1] is None
    assert heat_map(labels, scene[1]).values.shape == (6, 6)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"method": "attention"}, "'attention' does not exist; choose from"), ({"window": 6}, "give 1 to 5")],
)
def test_invalid_options(vit, scene, target, options, message):
    with pytest.raises(UserError, match=message):
        heat_maps(vit, scene[1], [target], **options)


@pytest.mark.parametrize("rank", [None, Rank.SPECIES, Rank.GENUS])
def test_learned_heads(vit, scene, rank):
    """Targets of a learned head are its rows, for labels, for taxa, and for the taxa above these."""
    random = np.random.default_rng(2)
    names = [f"Genus{'ab'[i // 3]} species{chr(97 + i)}" for i in range(6)]
    taxa = [Taxon("Animalia", "P", "C", "O", "F", *name.split()) for name in names]
    features = random.normal(size=(90, vit.config.embed_dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    linear = Linear(random.normal(size=(vit.config.embed_dim, 6)).astype(np.float32), np.zeros(6, np.float32))
    familiarity, *_ = fit_familiarity(features, np.arange(90))
    about = {"fingerprint": vit.fingerprint, "transform": vit.transform_note, "model": "a test"}
    taxa, own = (None, None) if rank is None else (taxa, Rank.SPECIES)
    head = LearnedHead(Path("a test"), names, taxa, own, linear, familiarity, about)
    classifier = LearnedClassifier(vit, head)
    vector = unmasked_vector(vit, scene[1])
    targets = candidate_targets(classifier, vector, 2, rank or Rank.SPECIES)
    rows = classifier.predict(scene[1], k=2, rank=rank)
    for target, row in zip(targets, rows, strict=True):
        assert target.row == {name: value for name, value in row.items() if name != "file_name"}
        assert np.exp(target.log_probability(vector[None])[0]) == pytest.approx(row["score"], rel=1e-4)
