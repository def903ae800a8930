"""Events (`--events`): grouping by place and time, pooled answers, and resuming to identical bytes."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from exif_bytes import ORIGINAL, exif, text
from PIL import Image

from bioclip_jax.cli import main
from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.predict import PredictOptions, Rank, predict_files
from bioclip_jax.predict.classifiers import CustomLabelsClassifier, TreeOfLifeClassifier
from bioclip_jax.predict.events.pooling import contradict
from bioclip_jax.predict.journal import Journal
from bioclip_jax.predict.taxa import build_taxa

LABELS = ["apple", "a ripe banana", "Solanum lycopersicum", "mushroom"]
START = datetime(2021, 5, 31, 6, 25, 38)


def picture(seed: int, path: Path, time: datetime | None = None) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (5, 6, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    block = b"" if time is None else exif(camera=[text(ORIGINAL, f"{time:%Y:%m:%d %H:%M:%S}")])
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95, **({"exif": b"Exif\0\0" + block} if block else {}))


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Two cameras: a (three frames, then one an hour later), b (one frame at the same time); one undated."""
    (tmp_path / "card").mkdir()
    for index, seconds in enumerate((0, 30, 90, 3600)):
        picture(index, tmp_path / "card" / "a" / f"{index}.jpg", START + timedelta(seconds=seconds))
    picture(4, tmp_path / "card" / "b" / "4.jpg", START)
    picture(5, tmp_path / "card" / "b" / "5.jpg")
    return tmp_path / "card"


@pytest.fixture(scope="module")
def taxa_file(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("taxa")
    rows = ["kingdom,phylum,class,order,family,genus,species,common_name"]
    rows += [f"K,P,C{i % 2},O{i % 4},F{i % 8},G{i % 16},s{i},name {i}" for i in range(40)]
    (folder / "names.csv").write_text("\n".join(rows))
    build_taxa(folder / "names.csv", model, folder / "taxa.safetensors")
    return folder / "taxa.safetensors"


def geometric_mean(probabilities: list[dict]) -> dict:
    """By hand: the mean log-probability of each class, normalized."""
    logs = {
        name: sum(math.log(each[name]) for each in probabilities) / len(probabilities)
        for name in probabilities[0]
    }
    total = sum(map(math.exp, logs.values()))
    return {name: math.exp(value) / total for name, value in logs.items()}


def test_an_event_is_the_mean_of_its_frames_log_probabilities(card, model, model_directory):
    options = PredictOptions(labels=",".join(LABELS), events=60, as_result=True)
    result = predict_files([card], str(model_directory), options)
    classifier = CustomLabelsClassifier(LABELS, model)
    alone = [
        {row["classification"]: row["score"] for row in classifier.predict(card / "a" / f"{index}.jpg")}
        for index in range(4)
    ]
    events: dict[str, dict] = {}
    for row in result["predictions"]:
        events.setdefault(row["event"], {})[row["classification"]] = row["score"]
    first, second, third, undated = events.values()
    assert first == pytest.approx(geometric_mean(alone[:3]), abs=2e-6)
    assert second == pytest.approx(alone[3], abs=2e-6), "an event of one frame has its answer"
    assert result["events"] == 4 and {*third} == {*undated} == {*LABELS}
    best = max(range(3), key=lambda index: max(alone[index].values()))
    [row] = [row for row in result["predictions"] if row["event"] == [*events][0]][:1]
    assert row["file_name"] == str(card / "a" / f"{best}.jpg")
    assert (row["event_start"], row["event_end"], row["frames"]) == (
        "2021-05-31T06:25:38",
        "2021-05-31T06:27:08",
        3,
    )
    frames = result["frames"]
    assert [row["event"] for row in frames[:: len(LABELS)]] == [
        *[[*events][0]] * 3,
        [*events][1],
        [*events][2],
        [*events][3],
    ]
    for row in frames[: 4 * 4]:
        index = int(Path(row["file_name"]).stem)
        assert row["score"] == pytest.approx(alone[index][row["classification"]], abs=2e-6)


@pytest.mark.parametrize("rank", [Rank.SPECIES, Rank.FAMILY])
def test_an_event_of_taxa_is_pooled_over_species_and_then_summed(
    rank, card, model, model_directory, taxa_file
):
    classifier = TreeOfLifeClassifier(model, taxa_file)
    alone = [
        {
            row["species"]: (row["score"], row[rank.get_label()])
            for row in classifier.predict(card / "a" / f"{i}.jpg", k=40)
        }
        for i in range(3)
    ]
    pooled = geometric_mean([{name: score for name, (score, _) in each.items()} for each in alone])
    expected: dict[str, float] = {}
    for name, score in pooled.items():
        taxon = alone[0][name][1]
        expected[taxon] = expected.get(taxon, 0.0) + score
    options = PredictOptions(taxa=taxa_file, rank=rank, k=40, events=60, as_result=True)
    result = predict_files([card / "a"], str(model_directory), options)
    event = result["predictions"][0]["event"]
    scores = {row[rank.get_label()]: row["score"] for row in result["predictions"] if row["event"] == event}
    assert scores == pytest.approx({name: expected[name] for name in scores}, abs=2e-6)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"k": 2},
        {"min_confidence": 0.5},
        {"unknown": 0.99},
        {"rank": "genus", "k": 1},
        {"within": "C1"},
        {"min_confidence": 0.9, "unknown": 0.95},
    ],
)
def test_every_selection_has_one_answer_an_event(options, card, model_directory, taxa_file, tmp_path):
    output = tmp_path / "out.parquet"
    result = predict_files(
        [card], str(model_directory), taxa=taxa_file, events=60, add="date", output=output, **options
    )
    rows = pq.read_table(output).to_pylist()
    frames = pq.read_table(tmp_path / "out.frames.parquet").to_pylist()
    assert result["frames"] == str(tmp_path / "out.frames.parquet")
    assert list(rows[0])[:6] == ["file_name", "event", "event_start", "event_end", "frames", "disagreeing"]
    assert len({row["event"] for row in rows}) == 4 == len({row["event"] for row in frames})
    assert len({row["file_name"] for row in frames}) == 6
    assert [row["date_taken"] for row in rows if row["frames"] == 3][0].startswith("2021-05-31T06:2")


def test_bins_and_json_and_tsv(card, model_directory, tmp_path):
    (tmp_path / "bins.csv").write_text("label,bin\napple,fruit\npear,fruit\nfrog,animal\n")
    for name in ("out.json", "out.tsv.gz"):
        predict_files(
            [card], str(model_directory), bins=tmp_path / "bins.csv", events=0, output=tmp_path / name
        )
    rows = json.loads((tmp_path / "out.json").read_text())
    assert len(rows) == 6 * 2, "without a gap, each time of a place is an event"
    assert (tmp_path / "out.frames.json").exists() and (tmp_path / "out.frames.tsv.gz").exists()


def test_the_table_gives_places_and_times(card, model_directory, tmp_path):
    table = tmp_path / "media.csv"
    cells = [("a/0.jpg", "d1", "2020-01-01T00:00:00+02:00"), ("a/1.jpg", "d1", "2019-12-31T22:00:50Z")]
    cells += [("a/2.jpg", "d2", "2020-01-01T00:00:20+02:00"), ("a/3.jpg", "d1", "nonsense")]
    with open(table, "w", newline="") as file:
        rows = [(f"card/{path}", deployment, time) for path, deployment, time in cells]
        csv.writer(file).writerows([("filePath", "deploymentID", "timestamp"), *rows])
    output = tmp_path / "out.csv"
    arguments = ["predict", str(table), "--model", str(model_directory), "--cls", "a,b", "--k", "1"]
    assert main([*arguments, "--events", "60", "--output", str(output)]) == 0
    with open(output, newline="") as file:
        events = list(csv.DictReader(file))
    assert [(row["deploymentID"], row["frames"], row["event_end"]) for row in events] == [
        ("d1", "2", "2019-12-31T22:00:50Z"),
        ("d2", "1", "2020-01-01T00:00:20+02:00"),
        ("d1", "1", "2021-05-31T07:25:38"),
    ]


def test_contradiction():
    species = {"family": "F", "genus": "G", "species": "G s"}
    assert not contradict(species, {"family": "F", "genus": "", "species": ""})
    assert not contradict(species, {"family": "", "genus": "", "species": "unknown"})
    assert contradict(species, {"family": "F", "genus": "H", "species": ""})
    assert contradict({"classification": "a"}, {"classification": "b"})


DYING = """
import os, signal, sys
from bioclip_jax.predict.events import EventPredictions
from bioclip_jax.predict.journal import Journal
from bioclip_jax.predict.predict import predict_files
folder, model, output, limit = sys.argv[1:]
add, seen = Journal.add, []
def add_and_die(journal, index, rows, vector):
    add(journal, index, rows, vector)
    seen.append(index)
    if len(seen) == int(limit):
        os.truncate(journal._path, os.path.getsize(journal._path) - 9)
        os.kill(os.getpid(), signal.SIGKILL)
Journal.add = add_and_die
read, events = EventPredictions._read, []
def read_and_die(predictions, number):
    events.append(number)
    if len(events) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(predictions, number)
EventPredictions._read = read_and_die
options = {"labels": "a,b,c", "batch_size": 2, "events": 60, "add": "date"}
predict_files([folder], model, **options, output=output, resume=True)
"""


def test_a_killed_run_resumes_to_identical_bytes(card, model_directory, tmp_path):
    def outputs(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("[a-z]*")}

    options = {"labels": "a,b,c", "batch_size": 2, "events": 60, "add": "date"}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    predict_files([card], str(model_directory), **options, output=tmp_path / "whole" / "o.csv")
    output = tmp_path / "killed" / "o.csv"
    # The last one dies between the two files, while events are pooled.
    for limit in (1, 3, 99):
        command = [sys.executable, "-c", DYING, str(card), str(model_directory), str(output), str(limit)]
        died = subprocess.run(command, capture_output=True, text=True)
        assert died.returncode == -signal.SIGKILL, died.stderr
        left = {"o.frames.csv"} if limit == 99 else set()
        assert outputs(tmp_path / "killed").keys() == left, "an output is half-written"
    predict_files([card], str(model_directory), **options, output=output, resume=True)
    assert outputs(tmp_path / "killed") == outputs(tmp_path / "whole") != {}
    assert sorted(os.listdir(tmp_path / "killed")) == [".o.csv.finished", "o.csv", "o.frames.csv"]
    with pytest.raises(UserError, match="events was 60 and is 30"):
        predict_files([card], str(model_directory), **options | {"events": 30}, output=output, resume=True)


def test_options_that_do_not_go_together_are_one_line(card, capsys):
    for arguments, message in [
        (["--events", "-1"], "the gap between events is -1.0 s; it must be at least 0"),
        (["--events", "nan"], "the gap between events is nan s; it must be at least 0"),
    ]:
        assert main(["predict", str(card), "--cls", "a,b", *arguments]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_an_interrupted_run_that_cannot_be_resumed_keeps_nothing(card, model_directory, monkeypatch, capsys):
    """Its journal is in a temporary folder, from which no run can resume."""
    add = Journal.add

    def add_and_interrupt(journal: Journal, *arguments) -> None:
        add(journal, *arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "add", add_and_interrupt)
    options = PredictOptions(labels=",".join(LABELS), events=60, as_result=True)
    with pytest.raises(Interrupted, match="nothing is kept; use --resume"):
        predict_files([card], str(model_directory), options)


def test_an_event_with_a_prior_is_the_mean_of_its_frames_log_probabilities(
    card, model, model_directory, taxa_file, tmp_path
):
    prior = tmp_path / "prior.csv"
    prior.write_text("taxon,weight\nO1,0\nG2 s2,7\nF3,0.1\n")
    classifier = TreeOfLifeClassifier(model, taxa_file)
    alone = [
        {row["species"]: row["score"] for row in classifier.predict(card / "a" / f"{index}.jpg", k=40)}
        for index in range(3)
    ]
    weights = dict.fromkeys(alone[0], 1.0) | {"G2 s2": 7.0}
    for number in range(40):
        if number % 4 == 1 or number % 8 == 3:
            weights[f"G{number % 16} s{number}"] = 0.0 if number % 4 == 1 else 0.1
    weighted = [{name: score * weights[name] for name, score in each.items()} for each in alone]
    known = [name for name, weight in weights.items() if weight]
    expected = geometric_mean(
        [{name: each[name] / sum(each.values()) for name in known} for each in weighted]
    )
    options = PredictOptions(taxa=taxa_file, prior=prior, k=40, events=60, as_result=True)
    result = predict_files([card / "a"], str(model_directory), options)
    event = result["predictions"][0]["event"]
    scores = {row["species"]: row["score"] for row in result["predictions"] if row["event"] == event}
    assert scores == pytest.approx(expected, abs=2e-6)


def test_the_report_counts_events(card, model_directory, tmp_path):
    page = tmp_path / "page.html"
    options = {"labels": ",".join(LABELS), "k": 1, "output": tmp_path / "o.csv"}
    predict_files([card], str(model_directory), **options, events=60, report=page)
    text = re.sub(r"<script.*?</script>|<style.*?</style>", "", page.read_text(), flags=re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", " ", text).split())
    assert "What is in 6 images" in text, text
    for words in ("4 events with a prediction", "Events by confidence", "Event by event", "all events"):
        assert words in text, f"{words} is not in: {text}"
    assert "Images by" not in text and "each image" not in text, text
    predict_files([card], str(model_directory), **options, report=page)
    assert "Images by confidence" in page.read_text()
