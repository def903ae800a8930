"""`analyze within`, from embeddings to its files."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bioclip_jax.analyze.checkpoint_series import Stage
from bioclip_jax.analyze.embeddings import Embeddings
from bioclip_jax.analyze.within import analyze_within
from bioclip_jax.errors import UserError

COLORS = {"diseased": (190, 120, 30), "healthy": (40, 150, 60)}


def stage(name, strength, *, pictures=False, cultivars=False, position=0.0):
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(6), 24)
    health = np.where(random.random(len(kinds)) < 0.4, "diseased", "healthy")
    sex = random.choice(["female", "male", ""], len(kinds))
    vectors = random.normal(size=(6, 16))[kinds] * 2 + random.normal(size=(len(kinds), 16))
    vectors[:, 15] += strength * (health == "healthy")
    cultivar = random.integers(3, size=len(kinds))
    vectors[:, 10:13] += 4 * np.eye(3)[cultivar]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def picture(row):
        file = io.BytesIO()
        Image.new("RGB", (80, 60), COLORS[health[row]]).save(file, "JPEG")
        return file.getvalue()

    table = {"kind": [f"Malus {at}" for at in kinds], "health": health, "sex": sex}
    if cultivars:
        table["cultivar"] = [f"{kind}-{at}" for kind, at in zip(kinds, cultivar)]
    data = Embeddings(
        vectors.astype(np.float32), pa.table(table), picture if pictures else lambda row: None, name
    )
    return Stage(name, position, data)


def run(stages, folder, *factors, **options):
    return analyze_within(stages, folder, factors=factors, species_column="kind", permutations=19, **options)


def test_a_single_factor_is_at_the_top_level_and_all_files_are_written(tmp_path):
    folder = tmp_path / "out"
    result = run([stage("leaves", 5.0, pictures=True)], folder, "health")
    assert json.loads((folder / "results.json").read_text()) == result
    assert {key: result[key] for key in result["factors"]["health"]} == result["factors"]["health"]
    for key in ("separability", "orthogonality", "fisher_ratio", "interval", "k", "separability_p", "levels"):
        assert key in result, f"{key} is missing from {sorted(result)}"
    assert result["separability"] > 0.9 and result["orthogonality"] > 0.5
    assert sum(result["levels"].values()) == result["images"] == 144
    stems = {"factor-health", "separability", "orthogonality"}
    names = {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".csv")} | {
        "results.json",
        "report.html",
    }
    assert {path.name for path in folder.iterdir()} == names
    for stem in stems:
        width, height = Image.open(folder / f"{stem}.png").size
        assert width > 400 and height > 200
    assert "health" in (folder / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_pictures_at_either_end_are_of_its_level(tmp_path):
    run([stage("leaves", 5.0, pictures=True)], tmp_path / "out", "health")
    pixels = np.asarray(Image.open(tmp_path / "out" / "factor-health.png").convert("RGB")).astype(int)
    for level, color in COLORS.items():
        near = np.abs(pixels - color).sum(axis=2) < 20
        columns = np.flatnonzero(near.sum(axis=0) > 30)
        assert len(columns), f"no picture of {level} is in the panel"
        middle = pixels.shape[1] / 2
        assert (columns < middle).all() if level == "diseased" else (columns > middle).all(), (
            f"{level}: {columns}"
        )


def test_the_csv_lists_the_images(tmp_path):
    one = stage("leaves", 5.0)
    run([one], tmp_path / "out", "health")
    with open(tmp_path / "out" / "factor-health.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 144
    kinds, health = one.embeddings.species("kind"), one.embeddings.texts("health")
    for row in rows:
        assert (row["species"], row["level"]) == (kinds[int(row["row"])], health[int(row["row"])])
    positions = {
        level: np.array([float(row["position"]) for row in rows if row["level"] == level]) for level in COLORS
    }
    assert positions["diseased"].mean() < positions["healthy"].mean()
    spread = np.sqrt(np.mean(np.concatenate([(at - at.mean()) ** 2 for at in positions.values()])))
    assert spread == pytest.approx(1, rel=1e-3), "positions are in standard deviations within levels"


@pytest.mark.parametrize(
    "words", [("NA", "nan", "unknown"), ("n/a", "Unknown", "<NA>"), ("null", "undetermined", "")]
)
def test_words_for_unknown_are_missing_values_of_a_factor(tmp_path, words):
    one = stage("leaves", 5.0)
    known = one.embeddings.columns["health"].to_pylist()
    empty, named = list(known), list(known)
    for row in range(0, len(known), 5):
        empty[row], named[row] = "", words[row // 5 % len(words)]
    results = []
    for number, values in enumerate((empty, named)):
        columns = pa.table({"kind": one.embeddings.columns["kind"], "health": values})
        data = Embeddings(one.embeddings.vectors, columns, one.embeddings.picture, "leaves")
        results.append(run([Stage("leaves", 0.0, data)], tmp_path / f"out{number}", "health"))
    assert set(results[1]["levels"]) == set(COLORS)
    assert results[1] == results[0]


def test_none_is_a_value_of_a_factor(tmp_path):
    one = stage("leaves", 5.0)
    disease = [
        "rust" if value == "diseased" else "none" for value in one.embeddings.columns["health"].to_pylist()
    ]
    columns = pa.table({"kind": one.embeddings.columns["kind"], "disease": disease})
    data = Embeddings(one.embeddings.vectors, columns, one.embeddings.picture, "leaves")
    assert set(run([Stage("leaves", 0.0, data)], tmp_path / "out", "disease")["levels"]) == {"rust", "none"}


def test_several_stages_and_factors(tmp_path):
    stages = [
        stage(f"{share} %", strength, position=share) for share, strength in ((6, 0.0), (25, 2.0), (100, 5.0))
    ]
    result = run(stages, tmp_path / "out", "health", "sex")
    assert "separability" not in result, "with two factors, none is at the top level"
    assert [(at["name"], at["position"]) for at in result["stages"]] == [
        ("6 %", 6),
        ("25 %", 25),
        ("100 %", 100),
    ]
    assert result["factors"] == result["stages"][-1]["factors"]
    grown = [at["factors"]["health"]["separability"] for at in result["stages"]]
    assert grown == sorted(grown), grown
    assert result["factors"]["sex"]["left_out"]["unknown"] > 20
    names = {path.name for path in (tmp_path / "out").iterdir()}
    for stem in (
        "factor-health",
        "factor-sex",
        "stages-separability",
        "stages-orthogonality",
        "stages-fisher_ratio",
    ):
        assert {f"{stem}.png", f"{stem}.csv"} <= names, f"{stem} is missing from {sorted(names)}"
    again = run(stages, tmp_path / "again", "health", "sex")
    assert again == result, "the same seed gives other figures"


def test_cultivars_are_compared_within_their_species(tmp_path):
    result = run([stage("apples", 0.0, cultivars=True)], tmp_path / "out", "cultivar")
    assert result["nested"] and len(result["by_species"]) == 6
    assert result["separability"] > 0.7 > 0.6 > result["separability_null"]["mean"]
    assert "Malus 3" in (tmp_path / "out" / "report.html").read_text()


def test_factors_of_similar_names_have_separate_files(tmp_path):
    one = stage("leaves", 5.0)
    table = one.embeddings.columns.append_column("he/alth", one.embeddings.columns["health"])
    table = table.append_column("he alth", one.embeddings.columns["health"])
    data = Embeddings(one.embeddings.vectors, table, one.embeddings.picture, "made")
    run([Stage("leaves", 0.0, data)], tmp_path / "out", "he/alth", "he alth")
    assert len(list((tmp_path / "out").glob("factor-*.png"))) == 2


@pytest.mark.parametrize(
    ("factors", "options", "message"),
    [
        ((), {}, "no factor to analyze"),
        (("health", "health"), {}, "'health' is named twice"),
        (("health",), {"permutations": -1}, "permutations cannot be -1"),
        (("heatlh",), {}, "heatlh"),
        (("health", "kind"), {}, "'kind' of leaves has no species to compare two values in"),
    ],
)
def test_a_mistake_is_reported_and_nothing_is_written(tmp_path, factors, options, message):
    with pytest.raises(UserError, match=message):
        analyze_within(
            [stage("leaves", 1.0)], tmp_path / "out", factors=factors, species_column="kind", **options
        )
    assert not list(tmp_path.iterdir())


def test_no_stage_and_invalid_outputs_are_errors(tmp_path):
    with pytest.raises(UserError, match="no embeddings"):
        run([], tmp_path / "out", "health")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name a folder"):
        run([stage("leaves", 1.0)], tmp_path / "file", "health")
    with pytest.raises(UserError, match="does not exist; make it"):
        run([stage("leaves", 1.0)], tmp_path / "none" / "out", "health")


def test_a_late_failure_leaves_the_folder_unchanged(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.json").write_text("old")
    one = stage("leaves", 1.0)

    def broken(row):
        raise OSError("the disk is gone")

    data = Embeddings(one.embeddings.vectors, one.embeddings.columns, broken, "leaves")
    with pytest.raises(OSError, match="disk"):
        run([Stage("leaves", 0.0, data)], tmp_path / "out", "health")
    assert (tmp_path / "out" / "results.json").read_text() == "old"
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "results.json"]
