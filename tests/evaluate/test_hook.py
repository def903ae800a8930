"""Evaluation while training: scores, reports, and stopping."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from bioclip_jax.errors import DataMissing, UserError
from bioclip_jax.evaluate.hook import EvaluationHook
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.sources import FolderSource
from bioclip_jax.train import train_config
from bioclip_jax.train.loop import _describe

KINDS = {"apple": ("Malus", "domestica"), "pear": ("Pyrus", "communis"), "quince": ("Cydonia", "oblonga")}
SUITE = """
entries:
  fruit: {protocol: zero-shot, data: fruit, templates: one, text_type: sci}
  labels: {protocol: zero-shot, data: fruit, templates: one, text_type: asis}
  broken: {protocol: zero-shot, data: broken, templates: one}
  absent: {protocol: zero-shot, data: absent, templates: one}
"""


@pytest.fixture(scope="module")
def params():
    return {**init_params(get_config("ViT-Test-16"), seed=5), "logit_scale": np.float32(3.0)}


@pytest.fixture
def fruit(tmp_path):
    """A folder of three species with three images each."""
    folder = tmp_path / "fruit"
    folder.mkdir()
    with open(folder / "metadata.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filepath", "family", "genus", "species", "common_name"])
        for number in range(9):
            name = list(KINDS)[number % 3]
            buffer = io.BytesIO()
            pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(buffer, "JPEG")
            (folder / f"{number}.jpg").write_bytes(buffer.getvalue())
            writer.writerow([f"{number}.jpg", "Rosaceae", *KINDS[name], name])
    return folder


def config_of(val, **evaluate):
    return train_config(
        {
            "data": {"train": "unused", "val": str(val)},
            "model": "ViT-Test-16",
            "global_batch_size": 8,
            "learning_rate": 1e-3,
            "total_steps": 1,
            "evaluate": {"templates": "one", "batch_size": 8, **evaluate},
        }
    )


def opener(folder):
    def open_data(location, split):
        data = folder / location.data
        if not data.exists():
            raise DataMissing(f"{location.data} does not exist; download it")
        return FolderSource(data, data / "metadata.csv")

    return open_data


def test_suite_is_scored_with_the_validation_data(fruit, params, capsys):
    broken = fruit.with_name("broken")
    broken.mkdir()
    (broken / "metadata.csv").write_text("filepath,genus,species\na.jpg,Malus,domestica\n")
    (broken / "a.jpg").write_text("no picture")
    suite = fruit.with_name("suite.yaml")
    suite.write_text(SUITE)
    hook = EvaluationHook(config_of(fruit, text_type="sci", suite=str(suite)), opener(fruit.parent))
    assert "absent is not evaluated" in capsys.readouterr().err, "absent data are reported before training"
    values = hook(params)
    report = capsys.readouterr().err
    assert values["n"] == 9 and set(values) == {"top1", "top3", "top5", "n", "ranks", "suite"}
    assert values["suite"] == {"fruit": values["top1"]}, "the same images by the same protocol"
    assert "labels is not evaluated" in report and "class column" in report, report
    assert "broken is not evaluated: none of the 1 images" in report, report
    assert hook(params) == values, "a second evaluation differs"


def test_evaluation_stops_between_batches(fruit, params):
    suite = fruit.with_name("suite.yaml")
    suite.write_text(SUITE)
    hook = EvaluationHook(config_of(fruit, text_type="sci", suite=str(suite)), opener(fruit.parent))
    checks = 0

    def count():
        nonlocal checks
        checks += 1
        return False

    whole = hook(params, count)
    assert checks >= 6, "each batch of images and of texts must check, of the suite too"
    for after in range(checks):
        left = after

        def stopping():
            nonlocal left
            left -= 1
            return left < 0

        assert hook(params, stopping) is None, f"it continues after check {after}"
    assert hook(params) == whole, "a stopped evaluation changes the next one"


def test_a_class_gets_81_texts_while_training(fruit, params):
    suite = fruit.with_name("suite.yaml")
    suite.write_text("entries:\n  fruit: {protocol: zero-shot, data: fruit, text_type: com}\n")
    hook = EvaluationHook(
        config_of(fruit, text_type="sci", templates="openai", suite=str(suite)), opener(fruit.parent)
    )
    encoded, texts_of = [], hook._encoder.texts
    hook._encoder.texts = lambda params, texts: (encoded.extend(texts), texts_of(params, texts))[1]
    hook(params)
    for names in (["Cydonia oblonga", "Malus domestica", "Pyrus communis"], ["apple", "pear", "quince"]):
        for name in names:
            assert sum(name in text for text in encoded) == 81, name
            assert f"a photo of {name}." in encoded
    assert len(encoded) == 2 * 3 * 81


def test_few_shot_of_the_validation_data(fruit, params):
    values = EvaluationHook(config_of(fruit, text_type="sci", few_shot=[1, 2]))(params)
    assert list(values["few_shot"]) == ["1", "2"]
    assert all(0 <= accuracy <= 1 for accuracy in values["few_shot"].values())


def test_unlabeled_validation_data_are_an_error(fruit):
    (fruit / "metadata.csv").write_text("filepath\n" + "".join(f"{number}.jpg\n" for number in range(9)))
    with pytest.raises(UserError, match="give labeled data"):
        EvaluationHook(config_of(fruit))


def test_options_are_checked(fruit):
    with pytest.raises(UserError, match="config.evaluate.few_shot"):
        config_of(fruit, few_shot=[0])
    with pytest.raises(UserError, match="config.evaluate.suite"):
        EvaluationHook(config_of(fruit, suite="suite.yaml"))


def test_line_of_an_evaluation():
    values = {
        "top1": 0.5,
        "top5": 1.0,
        "n": 9,
        "ranks": {"genus": 0.6},
        "few_shot": {"5": 0.7},
        "suite": {"fungi": 0.8},
    }
    assert _describe(values) == "top1 50.0%, top5 100.0%, genus 60.0%, few-shot 5 70.0%, suite fungi 80.0%"
    assert _describe({"top1": None, "top5": 0.25, "n": 1}) == "top5 25.0%"
