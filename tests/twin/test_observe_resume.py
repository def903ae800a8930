"""An interrupted `twin observe` keeps what is finished, and a model names the species resumably."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from camera_survey import deployment, predictions, write_detections, write_photo, write_table

from bioclip_jax.errors import Interrupted, UserError
from bioclip_jax.twin.observe import ObserveOptions, observe_photos
from bioclip_jax.twin.observe.camtrap_dp import check_package, read_package


def test_a_killed_run_does_not_read_times_again(tmp_path):
    """More photographs than a chunk, and a pipe as the last: it blocks the run, which is then killed."""
    folder = tmp_path / "photos" / "a"
    first = write_photo(folder / "000.jpg", "2021:06:01 12:00:00")
    for number in range(1, 300):
        os.link(first, folder / f"{number:03}.jpg")
    os.mkfifo(folder / "999.jpg")
    deployments = write_table(tmp_path / "deployments.csv", [deployment("a")])
    command = [sys.executable, "-m", "bioclip_jax.cli", "twin", "observe"]
    process = subprocess.Popen([*command, folder.parent, deployments, tmp_path / "out"])
    journal = tmp_path / ".out.partial" / "exif.jsonl"
    while not (journal.exists() and journal.read_bytes().count(b"\n") == 2):
        assert process.poll() is None, "the run ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    # As if killed while writing a line.
    journal.write_bytes(journal.read_bytes() + b'["2021-06-')
    (folder / "999.jpg").unlink()
    write_photo(folder / "999.jpg", "2021:06:01 13:00:00")
    for number in range(256):
        (folder / f"{number:03}.jpg").unlink()
        (folder / f"{number:03}.jpg").touch()
    result = observe_photos(folder.parent, deployments, tmp_path / "out")
    assert (result["media"], result["without_time"], result["events"]) == (301, 0, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deployments.csv", "out", "photos"]


@pytest.fixture
def survey(tmp_path):
    for number in range(4):
        write_photo(tmp_path / "photos" / "a" / f"{number}.jpg", f"2021:06:01 12:1{number}:00")
    write_table(tmp_path / "deployments.csv", [deployment("a")])
    return tmp_path


def test_interrupted_predictions(survey):
    """Ctrl-C keeps predictions, a mistake before them nothing; empty photographs are not predicted."""
    detections = write_detections(
        survey / "md.json",
        {"a/0.jpg": [], "a/1.jpg": [("1", 0.9, [0, 0, 1, 1])], "a/2.jpg": [("2", 0.9, [0, 0, 1, 1])]},
    )
    calls = []

    def predict(photos: Path, output: Path) -> str:
        calls.append(pl.read_parquet(photos)["filepath"].to_list())
        kept = output.with_name(f".{output.name}.partial")
        if not kept.exists():
            kept.touch()
            raise KeyboardInterrupt
        table = {path: {"Vulpes vulpes": 0.8} for path in calls[-1]}
        pl.DataFrame(predictions(table)).write_parquet(output)
        return "a model"

    arguments = survey / "photos", survey / "deployments.csv", survey / "out"
    # Each photograph is an event, or the empty one would be dropped with the person's.
    options = ObserveOptions(detections=detections, gap=30)
    with pytest.raises(Interrupted, match=r"kept in .*\.out\.partial; run the same command again"):
        observe_photos(*arguments, options, predict=predict)
    assert not (survey / "out").exists()
    result = observe_photos(*arguments, options, predict=predict)
    assert [[Path(path).name for path in call] for call in calls] == [["1.jpg", "3.jpg"]] * 2
    assert result["species"] == {"Vulpes vulpes": 2} and result["people_dropped"] == 1
    classified = read_package(survey / "out").observations["classifiedBy"]
    assert set(classified) == {"a model", "md_v5a.0.0.pt"}
    assert not (survey / ".out.partial").exists()

    def refuse(photos: Path, output: Path) -> str:
        raise UserError("there is no such model")

    with pytest.raises(UserError, match="no such model"):
        observe_photos(*arguments, ObserveOptions(overwrite=True), predict=refuse)
    assert not (survey / ".out.partial").exists()
    assert read_package(survey / "out").observations["classifiedBy"].equals(classified)


def test_a_kill_while_the_package_is_replaced(survey):
    """The earlier package is put back, then replaced."""
    arguments = survey / "photos", survey / "deployments.csv", survey / "out"
    observe_photos(*arguments)
    (survey / ".out.partial").mkdir()
    (survey / "out").rename(survey / ".out.partial" / "previous")
    with pytest.raises(UserError, match="already has a package"):
        observe_photos(*arguments)
    observe_photos(*arguments, ObserveOptions(overwrite=True))
    assert sorted(path.name for path in survey.iterdir()) == ["deployments.csv", "out", "photos"]


def test_a_model_names_the_species(survey, tmp_path_factory, monkeypatch, capsys):
    """The command line runs predict on the photographs and hands its table over."""
    import jax

    from bioclip_jax.cli import main
    from bioclip_jax.convert import ModelBundle, write_model_directory
    from bioclip_jax.models import get_config, init_params
    from bioclip_jax.pipeline.images import Preprocess

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=0))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    model = str(write_model_directory(bundle, survey / "model", replay_projector=False))
    species = [("Vulpes", "vulpes"), ("Sus", "scrofa"), ("Lepus", "europaeus")]
    names = write_table(
        survey / "names.csv", [{"kingdom": "Animalia", "genus": g, "species": s} for g, s in species]
    )
    taxa = str(survey / "taxa.safetensors")
    assert main(["taxa", "build", str(names), "--model", model, "--output", taxa]) == 0
    arguments = [
        "twin",
        "observe",
        *map(str, (survey / "photos", survey / "deployments.csv", survey / "out")),
    ]
    capsys.readouterr()
    assert main([*arguments, "--model", model, "--taxa", taxa, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    package = read_package(survey / "out")
    check_package(package, media_files=True)
    probabilities = pl.read_parquet(survey / "out" / "probabilities.parquet")
    assert set(probabilities["scientificName"]) == {" ".join(name) for name in species}
    sums = probabilities.group_by("mediaID").agg(pl.col("probability").sum())
    assert sums.height == 4 and sums["probability"].to_numpy() == pytest.approx(np.ones(4), abs=1e-3)
    means = probabilities.group_by("scientificName").agg(pl.col("probability").mean()).sort("probability")
    assert result["species"] == {means["scientificName"][-1]: 1}
    from bioclip_jax.predict import load_model

    assert set(package.observations["classifiedBy"]) == {f"{model} {load_model(model).fingerprint[:12]}"}
