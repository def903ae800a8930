"""FishNet and AwA2: reading labels, and scores against plain sums, torch and scikit-learn's F1."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from bioclip_jax.errors import UserError
from bioclip_jax.evaluate.metrics.f1 import f1_scores, resampled_macro_f1
from bioclip_jax.evaluate.protocols.awa2 import AwA2, read_attributes
from bioclip_jax.evaluate.protocols.fishnet import TRAITS, FishNet, read_traits
from bioclip_jax.evaluate.protocols.probe import fit_probe
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings

ALL = dict(zip(TRAITS, ["pelagic", "1", 0, 1.0, "0", "1.0", "0.0", 1, 0]))


def labeled(features, rows):
    samples = [Sample(f"{n}.jpg", b"", {}, None, row) for n, row in enumerate(rows)]
    return LabeledEmbeddings(np.asarray(features, np.float32), samples, np.arange(len(samples)), {})


def of_rows(*rows):
    return labeled(np.zeros((len(rows), 2)), rows)


def plain_logits(params, features):
    logits = []
    for w1, b1, w2, b2 in zip(*params):
        logits.append((features @ np.float64(w1) + b1) @ np.float64(w2) + b2)
    return logits


def fish(n, seed):
    random = np.random.default_rng(seed)
    features = (5 * random.normal(size=(n, 12))).astype(np.float32)
    flags = features[:, :9] + 2 * random.normal(size=(n, 9)) > 0
    rows = [
        dict(zip(TRAITS, ["pelagic" if row[0] else "benthic", *(str(int(flag)) for flag in row[1:])]))
        for row in flags
    ]
    return features, flags, rows


def test_read_traits():
    more = [
        {"FeedingPath": " Benthic"},
        {"Polar": ""},
        {"Boreal": -1},
        {"Boreal": "-1.0"},
        {"saltwater": float("nan")},
        {"FeedingPath": "nan"},
    ]
    traits = read_traits(of_rows(ALL, *(ALL | row for row in more)))
    assert traits[0].tolist() == [1, 1, 0, 1, 0, 1, 0, 1, 0]
    assert traits[1].tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    for row, trait in enumerate(("Polar", "Boreal", "Boreal", "saltwater", "FeedingPath"), start=2):
        unknown = [name for name, value in zip(TRAITS, traits[row]) if value == -1]
        assert unknown == [trait], f"image {row} has {unknown} unknown"


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("FeedingPath", "pelagc", "FeedingPath of image 1.jpg is 'pelagc'; give pelagic or benthic"),
        ("FeedingPath", 1, "FeedingPath of image 1.jpg is 1; give pelagic or benthic"),
        ("Polar", "2", "Polar of image 1.jpg is '2'; give 1 or 0"),
        ("brackish", "yes", "brackish of image 1.jpg is 'yes'; give 1 or 0"),
    ],
)
def test_invalid_trait_is_an_error(trait, value, message):
    with pytest.raises(UserError, match=message):
        read_traits(of_rows(ALL, ALL | {trait: value}))


def test_missing_column_and_split_without_known_traits_are_errors():
    with pytest.raises(UserError, match="no column 'Polar'"):
        read_traits(of_rows({name: value for name, value in ALL.items() if name != "Polar"}))
    with pytest.raises(UserError, match="no image of the test split has all of FeedingPath, Tropical"):
        FishNet()({"train": of_rows(ALL), "test": of_rows(ALL | {"Polar": ""})}, None)


def test_fishnet_image_is_correct_if_all_nine_traits_are():
    x_train, y_train, train = fish(300, 0)
    x_test, y_test, test = fish(200, 1)
    train[7]["Polar"] = test[3]["brackish"] = test[11]["FeedingPath"] = ""
    protocol = FishNet(seeds=(1, 4), learning_rate=1e-3, epochs=8)
    score = protocol({"train": labeled(x_train, train), "test": labeled(x_test, test)}, None)
    figures = score.figures
    assert figures["unknown"] == {"train": 1, "test": 2}
    assert (figures["n_train"], figures["n"]) == (299, 198)

    kept = [row for row in range(200) if row not in (3, 11)]
    params = fit_probe(
        np.delete(x_train, 7, 0), np.delete(y_train, 7, 0), seeds=(1, 4), learning_rate=1e-3, epochs=8
    )
    shares, right_by_trait, near = [], np.zeros(9), 0
    for logits in plain_logits(params, x_test):
        hits = 0
        for row in kept:
            right = [(logits[row][trait] > 0.5) == y_test[row][trait] for trait in range(9)]
            near += any(0 < logits[row][trait] <= 0.5 for trait in range(9))
            right_by_trait += right
            hits += all(right)
        shares.append(hits / 198)
    assert near > 20, "hardly any logit is between 0 and 0.5, so the threshold does not matter"
    assert figures["accuracy_by_seed"] == pytest.approx(shares, abs=1e-6)
    assert figures["accuracy"] == pytest.approx(sum(shares) / 2, abs=1e-6)
    assert figures["accuracy_std"] == pytest.approx(abs(shares[0] - shares[1]) / 2, abs=1e-6)
    assert list(figures["by_trait"]) == list(TRAITS)
    assert list(figures["by_trait"].values()) == pytest.approx((right_by_trait / 2 / 198).tolist(), abs=1e-6)
    for name, interval in (("accuracy_with_dropout", "interval"), ("accuracy", "accuracy_interval")):
        low, high = figures[interval]
        assert 0.02 < low < figures[name] < high < 0.95, f"{name}: {figures[name]} in {low} to {high}"
    assert figures["accuracy_with_dropout"] < figures["accuracy"], "dropout at the end should cost some"
    assert FishNet.score == "accuracy_with_dropout", "the published figures are with dropout"
    assert [row["trait"] for row in score.tables["traits"]] == list(TRAITS)


def torch_heads(params):
    """Return the reference's heads with fitted weights, in training mode."""
    for w1, b1, w2, b2 in zip(*params):
        first, last = torch.nn.Linear(*w1.shape), torch.nn.Linear(*w2.shape)
        for layer, weight, bias in ((first, w1, b1), (last, w2, b2)):
            layer.weight.data, layer.bias.data = (
                torch.tensor(np.array(weight).T),
                torch.tensor(np.array(bias)),
            )
        yield torch.nn.Sequential(first, torch.nn.Dropout(0.5), last)


@torch.no_grad()
def torch_passes(params, features, passes=60):
    """Return predictions [passes, heads, images, labels], with new dropout for each copy of an image."""
    torch.manual_seed(0)
    x = torch.tensor(features).repeat(passes, 1)
    by_head = [(head(x) > 0.5).numpy().reshape(passes, len(features), -1) for head in torch_heads(params)]
    return np.stack(by_head, axis=1)


def test_fishnet_published_figure_uses_dropout():
    """Equals the mean over passes of torch's head in training mode, within sampling error."""
    x_train, y_train, train = fish(300, 0)
    x_test, y_test, test = fish(200, 1)
    options = {"seeds": (1, 4, 6), "learning_rate": 1e-3, "epochs": 8}
    figures = FishNet(**options)(
        {"train": labeled(x_train, train), "test": labeled(x_test, test)}, None
    ).figures
    params = fit_probe(x_train, y_train, **options)
    expected = np.mean(
        [[(p == y_test).all(axis=1).mean() for p in heads] for heads in torch_passes(params, x_test)]
    )
    spread = (expected * (1 - expected) / (3 * len(y_test))) ** 0.5
    published = figures[FishNet.score]
    assert abs(published - expected) < 4 * spread, f"{published} instead of {expected}"
    assert abs(figures["accuracy"] - expected) > 4 * spread, "without dropout the figure must be another"


def test_awa2_published_figure_uses_dropout():
    random = np.random.default_rng(2)
    x_train, y_train, train = animals(random, 12, 20, 7)
    x_test, y_test, test = animals(random, 12, 80, 7)
    options = {"seeds": (0, 3, 5), "learning_rate": 1e-3, "epochs": 5}
    figures = AwA2(**options)({"train": labeled(x_train, train), "test": labeled(x_test, test)}, None).figures
    params = fit_probe(x_train, y_train, **options)
    true = y_test.astype(int)
    passes = [
        np.mean([f1_score(true, p.astype(int), average="macro", labels=np.unique(true)) for p in heads])
        for heads in torch_passes(params, x_test)
    ]
    assert abs(figures[AwA2.score] - np.mean(passes)) < 4 * np.std(passes), f"not {np.mean(passes)}"
    assert abs(figures["f1_reference"] - np.mean(passes)) > 4 * np.std(passes), (
        "without dropout it must be another"
    )


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(2, 6), st.floats(0, 1))
@settings(max_examples=30)
def test_f1_equals_scikit_learns(seed, n, out, rate):
    random = np.random.default_rng(seed)
    true, predicted = random.random((n, out)) < rate, random.random((2, n, out)) < random.random(out)
    draws = np.bincount(random.integers(n, size=n), minlength=n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for of_seed in predicted:
            np.testing.assert_allclose(
                f1_scores(true, of_seed), f1_score(true, of_seed, average=None), atol=1e-12
            )
            macro = f1_score(true, of_seed, average="macro")
            assert f1_scores(true, of_seed).mean() == pytest.approx(macro, abs=1e-12)
        expected = [f1_score(true, of_seed, average="macro", sample_weight=draws) for of_seed in predicted]
    assert resampled_macro_f1(true, predicted)(draws) == pytest.approx(np.mean(expected), abs=1e-12)


def animals(random, classes, images, out):
    """Return features that encode some attributes of each class, equal for all its images."""
    attributes = random.random((classes, out)) < 0.5
    y = np.repeat(attributes, images, axis=0)
    features = 3 * (2 * y - 1) + 4 * random.normal(size=y.shape)
    return (
        features.astype(np.float32),
        y,
        [{"attributes": "".join(str(int(flag)) for flag in row)} for row in y],
    )


def test_awa2_equals_scikit_learns():
    random = np.random.default_rng(2)
    x_train, y_train, train = animals(random, 12, 20, 7)
    x_test, y_test, test = animals(random, 6, 20, 7)
    protocol = AwA2(seeds=(0, 3), learning_rate=1e-3, epochs=5)
    score = protocol({"train": labeled(x_train, train), "test": labeled(x_test, test)}, None)
    figures = score.figures
    params = fit_probe(x_train, y_train, seeds=(0, 3), learning_rate=1e-3, epochs=5)
    predicted = [logits > 0.5 for logits in plain_logits(params, x_test)]
    as_reference = [
        f1_score(y_test, p, average="macro", labels=np.unique(y_test.astype(int))) for p in predicted
    ]
    of_all = [f1_score(y_test, p, average="macro") for p in predicted]
    assert figures["f1_reference_by_seed"] == pytest.approx(as_reference, abs=1e-6)
    assert figures["f1_reference"] == pytest.approx(np.mean(as_reference), abs=1e-6)
    assert figures["f1_reference_std"] == pytest.approx(np.std(as_reference), abs=1e-6)
    assert figures["macro_f1_by_seed"] == pytest.approx(of_all, abs=1e-6)
    assert figures["macro_f1"] == pytest.approx(np.mean(of_all), abs=1e-6)
    assert abs(figures["macro_f1"] - figures["f1_reference"]) > 1e-3, "two attributes score as all seven do"
    assert AwA2.score == "f1_reference_with_dropout", "the published figures are with dropout"
    for name in (AwA2.score, *AwA2.also):
        low, high = figures["interval" if name == AwA2.score else f"{name}_interval"]
        assert low < figures[name] < high and 0.01 < high - low < 0.4, (
            f"{name}: {figures[name]} in {low} to {high}"
        )
        by_seed = figures["by_seed" if name == AwA2.score else f"{name}_by_seed"]
        assert figures[name] == pytest.approx(np.mean(by_seed))
        assert figures[name.removesuffix("_with_dropout")] >= figures[name], (
            "dropout at the end should cost some"
        )
    assert (figures["n"], figures["n_train"], figures["attributes"]) == (120, 240, 7)
    assert len(score.tables["attributes"]) == 7


@pytest.mark.parametrize("flag", ["0", "1"])
def test_awa2_of_constant_attributes_uses_one_column(flag):
    random = np.random.default_rng(3)
    x_train, _, train = animals(random, 4, 10, 3)
    x_test, _, _ = animals(random, 2, 10, 3)
    test = [{"attributes": flag * 3}] * 20
    figures = AwA2(seeds=(0,), learning_rate=1e-2, epochs=3)(
        {"train": labeled(x_train, train), "test": labeled(x_test, test)}, None
    ).figures
    params = fit_probe(
        x_train, read_attributes(labeled(x_train, train)), seeds=(0,), learning_rate=1e-2, epochs=3
    )
    (logits,) = plain_logits(params, x_test)
    true = np.full((20, 3), int(flag))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = f1_score(true, (logits > 0.5).astype(int), average="macro", labels=np.unique(true))
    assert figures["f1_reference"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"attributes": "0110"}, {"attributes": "01x0"}], "attributes of image 1.jpg is '01x0'"),
        ([{"attributes": "0110"}, {"attributes": "011"}], "image 1.jpg has 3 attributes, earlier images 4"),
        ([{"attributes": "0110"}, {}], "attributes of image 1.jpg is ''"),
        ([{"attributes": 1.1e80}], "attributes of image 0.jpg is 1.1e[+]80"),
        ([{"traits": "01"}], "no column 'attributes'"),
    ],
)
def test_invalid_attributes_are_errors(rows, message):
    with pytest.raises(UserError, match=message):
        read_attributes(of_rows(*rows))


def test_splits_of_different_data_are_errors():
    sets = {"train": of_rows({"attributes": "010"}), "test": of_rows({"attributes": "01"})}
    with pytest.raises(UserError, match="the train split has 3 attributes, the test split 2"):
        AwA2()(sets, None)


@pytest.mark.parametrize("protocol", [FishNet, AwA2])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "seeds"),
        ({"seeds": (0, -1)}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"seeds": (2**32,)}, "seeds"),
        ({"learning_rate": 0.0}, "learning rate"),
        ({"learning_rate": float("nan")}, "learning rate"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_invalid_options_are_errors(protocol, options, message):
    with pytest.raises(UserError, match=message):
        protocol(**options)
