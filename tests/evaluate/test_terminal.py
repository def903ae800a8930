"""Results in a terminal: tables that fit, without Python literals."""

import re

import numpy as np
import pytest

from bioclip_jax.evaluate.protocols.awa2 import AwA2
from bioclip_jax.evaluate.protocols.base import ModelOutputs
from bioclip_jax.evaluate.protocols.few_shot import FewShot
from bioclip_jax.evaluate.protocols.fishnet import TRAITS, FishNet
from bioclip_jax.evaluate.protocols.herbarium19 import Herbarium19
from bioclip_jax.evaluate.protocols.newt import NeWT
from bioclip_jax.evaluate.protocols.plantdoc import PlantDoc
from bioclip_jax.evaluate.protocols.registry import protocol_options
from bioclip_jax.evaluate.protocols.zero_shot import ZeroShot
from bioclip_jax.evaluate.report.rows import Row
from bioclip_jax.evaluate.report.terminal import describe_result, describe_suite, format_table
from bioclip_jax.evaluate.results import to_json_types
from bioclip_jax.pipeline.sources import Sample
from bioclip_jax.predict.embedding import LabeledEmbeddings
from bioclip_jax.text import Taxon


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def vectors(n, rows, seed=0):
    features = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    samples = [Sample(str(number), b"", {}, taxon, dict(row)) for number, (taxon, row) in enumerate(rows)]
    return LabeledEmbeddings(features, samples, np.arange(n), {"truncated": 2, "not_an_image": 1})


def labels(n, classes=3):
    return vectors(n, [(None, {"class": f"class {number % classes}"}) for number in range(n)])


def taxa(n):
    lineage = ("Animalia", "Chordata", "Aves", "Passeriformes", "Thraupidae")
    return vectors(n, [(Taxon(*lineage, "Geospiza", f"species{number % 4}"), {}) for number in range(n)])


def fish(n, seed=0):
    flags = np.random.default_rng(seed).random((n, 9)) < 0.5
    rows = [
        dict(zip(TRAITS, ["pelagic" if row[0] else "benthic", *map(str, row[1:].astype(int))]))
        for row in flags
    ]
    return vectors(n, [(None, row) for row in rows], seed)


def questions(n):
    rows = [
        {"task": f"task {number % 2}", "task_cluster": "age", "label": number // 2 % 2} for number in range(n)
    ]
    return vectors(n, [(None, row) for row in rows])


def animals(n):
    rows = [{"attributes": "".join(str(number >> bit & 1) for bit in range(5))} for number in range(n)]
    return vectors(n, [(None, row) for row in rows])


def encode(texts):
    return np.random.default_rng(len(texts)).normal(size=(len(texts), 8)).astype(np.float32)


CASES = {
    "zero-shot": (ZeroShot("taxon", "one"), {"test": taxa(40)}),
    "zero-shot-labels": (ZeroShot("asis", "one"), {"test": labels(40)}),
    "few-shot": (FewShot(shots=(1, 5), text_type="asis"), {"test": labels(40)}),
    "newt": (NeWT(draws=2, seeds=(0, 1), jobs=1), {"train": questions(40), "test": questions(40)}),
    "fishnet": (FishNet(epochs=1), {"train": fish(40), "test": fish(40, 1)}),
    "awa2": (AwA2(epochs=1), {"train": animals(40), "test": animals(40)}),
    "herbarium19": (Herbarium19(old=(0, 1)), {"train": labels(60)}),
    "plantdoc": (PlantDoc(), {"train": labels(30), "test": labels(30)}),
}


@pytest.mark.parametrize("case", CASES)
def test_results_fit_the_terminal(case):
    protocol, sets = CASES[case]
    figures = to_json_types(protocol(sets, ModelOutputs(encode, 5.0)).figures)
    about = {
        "protocol": protocol.name,
        "model": "runs/" + "long-name/" * 12,
        "fingerprint": "f",
        "data": "photos",
    }
    text = describe_result(
        about | protocol_options(protocol) | figures | {"seconds": {"vectors": 1.0}}, protocol
    )
    lines = text.splitlines()
    # Only a path may be wider than the terminal.
    assert max(len(line) for line in lines if "long-name" not in line) <= 80, text
    assert not set(text) & set("[]{}") and "None" not in text and not re.search(r"\.\d{6}", text), text
    assert f"{100 * figures[protocol.score]:.1f} %" in text, text
    low, high = figures["interval"]
    assert f"{100 * low:.1f} to {100 * high:.1f}" in text, text
    if case in ("zero-shot", "few-shot"):
        assert "2 truncated, 1 not an image" in text, text
    for rank, accuracy in figures.get("ranks", {}).items():
        (line,) = [line for line in lines if line.startswith(f"{rank} ")]
        assert f"{100 * accuracy:.1f} %" in line and f"{figures['n_by_rank'][rank]}" in line
    if "accuracy_with_dropout" in figures:
        assert "accuracy with dropout  " in text and "accuracy without dropout  " in text


def test_missing_figures_are_empty():
    protocol = ZeroShot("taxon", "one")
    result = {"model": "m", "data": "d", "top1": None, "interval": None, "n": 3, "not_candidates": 3}
    text = describe_result(result, protocol)
    assert "None" not in text and "3 images, 3 of other classes" in text
    assert "top-1   none" in text and format_table([]) == []


def test_wide_tables_are_transposed_in_blocks():
    rows = [
        {"name": f"class {number}"} | {f"column {column}": "123.4" for column in range(12)}
        for number in range(9)
    ]
    lines = format_table(rows)
    assert max(map(len, lines)) <= 80
    assert (
        lines[0].split()[:3] == ["name", "class", "0"] and sum(line.count("123.4") for line in lines) == 108
    )
    narrow = format_table([{"a": "1", "b": ""}, {"a": "2", "b": ""}])
    assert narrow == ["a", "1", "2"], "empty columns are dropped"


@pytest.mark.parametrize(("width", "shown"), [(60, 3), (72, 4), (120, 5)])
def test_suite_table_fits_the_terminal(monkeypatch, width, shown):
    monkeypatch.setenv("COLUMNS", str(width))
    published = {"BioCLIP 2": 74.9, "BioCAP": 67.6, "BioCLIP": 58.8, "CLIP": 66.5}
    rows = [
        Row("Species", "a set of birds", 61.2, (60.0, 62.4), 48562, published),
        Row("Species", "x", None, note="no"),
        Row("Other", "FishNet, without dropout", 40.0, kind="also"),
    ]
    lines = describe_suite(rows).splitlines()
    assert max(map(len, lines)) <= width
    assert "61.2 (60.0–62.4)" in lines[2] and "BioCLIP 2" in lines[1] and lines[-1].startswith("(FishNet")
    columns = [
        name for name in ("images", "BioCLIP 2", "BioCAP", "BioCLIP ", " CLIP") if name in lines[1] + " "
    ]
    assert len(columns) == shown, f"{columns} of the published columns and the images are shown in {lines[1]}"
    assert ("48,562" in lines[2]) == (shown == 5), "the column of images is dropped first"
