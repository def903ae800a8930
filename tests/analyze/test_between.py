"""`analyze between`, from synthetic embeddings to its files."""

import csv
import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bioclip_jax.analyze.between import analyze_between
from bioclip_jax.analyze.checkpoint_series import Stage
from bioclip_jax.analyze.embeddings import Embeddings
from bioclip_jax.analyze.trait_values import read_traits
from bioclip_jax.errors import UserError

GENERA = {"Geospiza": "Thraupidae", "Camarhynchus": "Thraupidae", "Parus": "Paridae", "Corvus": "Corvidae"}
EACH, SPECIES = 6, 5


def made(*, noise=0.1, seed=0, picture=lambda row: None, source="made.parquet"):
    """Six images of each of twenty species, with beak depth along the last dimension."""
    rng = np.random.default_rng(seed)
    genera = [genus for genus in GENERA for _ in range(SPECIES)]
    names = [f"{genus} s{'abcde'[index % SPECIES]}" for index, genus in enumerate(genera)]
    beak = rng.uniform(5, 20, len(names))
    family = {name: rng.normal(size=24) for name in sorted(set(GENERA.values()))}
    means = np.array([0.5 * family[GENERA[genus]] for genus in genera]) + 0.2 * rng.normal(
        size=(len(names), 24)
    )
    means[:, -1] = 0.15 * beak
    vectors = np.repeat(means, EACH, axis=0) + noise * rng.normal(size=(len(names) * EACH, 24))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = pa.table(
        {
            "kingdom": ["Animalia"] * len(vectors),
            "family": np.repeat([GENERA[genus] for genus in genera], EACH).tolist(),
            "genus": np.repeat(genera, EACH).tolist(),
            "species": np.repeat([name.split()[1] for name in names], EACH).tolist(),
            "label": np.repeat(names, EACH).tolist(),
            "beak_depth_mm": np.repeat(beak, EACH) + 0.1 * rng.normal(size=len(vectors)),
            "flat": np.ones(len(vectors)),
        }
    )
    embeddings = Embeddings(
        vectors=vectors.astype(np.float32), columns=columns, picture=picture, source=source
    )
    return Stage("made", 0.0, embeddings), names, beak


def write_traits(path, names, **columns):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *columns])
        writer.writerows(zip(names, *columns.values()))
    return path


def test_a_table_of_traits_gives_figures_a_page_and_image_projections(tmp_path):
    stage, names, beak = made()
    rng = np.random.default_rng(9)
    table = write_traits(
        tmp_path / "traits.csv",
        [*names, "Struthio camelus"],
        beak_depth_mm=[*beak, 99],
        noise=[*rng.normal(size=len(names)), 1],
        remark=["x"] * (len(names) + 1),
    )
    output = tmp_path / "out"
    result = analyze_between([stage], output, species_column="label", traits=table, permutations=199)

    assert list(result["traits"]) == ["beak_depth_mm", "noise"], (
        "every numeric column is a trait, and no other"
    )
    trait = result["traits"]["beak_depth_mm"]
    assert trait["r_cv"] > 0.9 and trait["p_cv"] == 1 / 200, trait
    assert result["traits"]["noise"]["p_cv"] > 0.02 and result["traits"]["noise"]["p"] > 0.02, result[
        "traits"
    ]["noise"]
    assert trait["species"] == 20 and trait["images"] == 120 and result["species"] == 20
    assert result["unmatched"]["number"] == 1 and "Struthio camelus" in result["unmatched"]["first"]
    assert result["tree"]["ranks"]["family"]["nearest_neighbor"] > 0.9, result["tree"]
    assert json.loads((output / "results.json").read_text()) == result

    pictures = {path.stem for path in output.glob("*.png")}
    assert pictures == {path.stem for path in output.glob("*.csv")}
    assert {"trait-beak_depth_mm", "components-noise", "tree", "ranks"} <= pictures
    for stem in pictures:
        with Image.open(output / f"{stem}.png") as picture:
            assert min(picture.size) > 400 and len(np.unique(np.asarray(picture.convert("L")))) > 8, (
                f"{stem} is empty"
            )
    assert "beak depth" in (output / "report.html").read_text()
    assert not list(tmp_path.glob(".*")), "a temporary folder was left"

    with open(output / "trait-beak_depth_mm.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    species = {row["species"]: row for row in rows if row["what"] == "species"}
    images = [row for row in rows if row["what"] == "image"]
    assert len(species) == 20 and sorted(int(row["row"]) for row in images) == list(range(120))
    for name, value in zip(names, beak):
        assert float(species[name]["beak depth (mm)"]) == pytest.approx(value)
        own = [float(row["position"]) for row in images if row["species"] == name]
        assert np.mean(own) == pytest.approx(float(species[name]["position"]), abs=1e-5), (
            f"{name}: mean of its images"
        )
    positions = [float(row["position"]) for row in images]
    values = [float(row["beak depth (mm)"]) for row in images]
    assert trait["r_direction"] == pytest.approx(abs(np.corrcoef(positions, values)[0, 1]), abs=1e-5)


def test_a_column_is_a_trait_and_constant_traits_are_skipped(tmp_path, capsys):
    stage, _, _ = made()
    result = analyze_between(
        [stage], tmp_path / "out", trait_names=["beak_depth_mm", "flat"], permutations=99
    )
    assert result["traits"]["beak_depth_mm"]["r_cv"] > 0.9
    assert "same value" in result["left_out"]["flat"] and "flat" in capsys.readouterr().err
    with pytest.raises(UserError, match="the trait flat .* same value"):
        analyze_between([stage], tmp_path / "none", trait_names=["flat"], permutations=9)
    assert not (tmp_path / "none").exists(), "a run that fails must leave nothing"


def read(stage, path, order, **options):
    """Read traits of the species in the column label, in the given order."""
    groups = np.repeat(np.arange(len(order)), EACH)
    return read_traits(stage.embeddings, order, groups, **{"species_column": None, "table": path, **options})


def test_species_are_matched_across_spellings_and_genus_columns(tmp_path):
    stage, names, beak = made()
    spelled = (f"{name.upper().replace(' ', '_')},{value}\n" for name, value in zip(names, beak))
    (tmp_path / "a.csv").write_text("".join(["name,beak\n", *spelled]))
    split = (f"{name.replace(' ', ',')},{value}\n" for name, value in zip(names, beak))
    (tmp_path / "b.csv").write_text("".join(["genus,species,beak\n", *split]))
    for table in ("a.csv", "b.csv"):
        traits = read(stage, tmp_path / table, names)
        assert list(traits.values) == ["beak"], table
        np.testing.assert_allclose(traits.values["beak"], beak, err_msg=table)


def test_missing_values_are_skipped_and_rows_of_one_species_averaged(tmp_path):
    stage, names, beak = made()
    values = ["", "NA", *beak[2:], beak[2] + 2]
    traits = read(
        stage,
        write_traits(tmp_path / "t.csv", [*names, names[2]], beak=values),
        names,
        species_column="label",
    )
    expected = [np.nan, np.nan, beak[2] + 1, *beak[3:]]
    np.testing.assert_allclose(traits.values["beak"], expected)


def test_a_column_is_averaged_over_images_with_a_value():
    stage, names, _ = made()
    known = np.array(stage.embeddings.columns["beak_depth_mm"].to_pylist())
    known[::2] = np.nan
    columns = stage.embeddings.columns.append_column("beak", pa.array(known))
    stage = Stage("half", 0.0, dataclasses.replace(stage.embeddings, columns=columns))
    traits = read(stage, None, names, names=["beak"])
    for index, name in enumerate(names):
        own = [value for value in known[index * EACH : (index + 1) * EACH] if value == value]
        assert traits.values["beak"][index] == pytest.approx(sum(own) / len(own)), name


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        (
            "label,beak\nGeospiza sq,4\n",
            [],
            "no species of .* has images: its first is 'Geospiza sq'; did you mean",
        ),
        ("who,beak\nGeospiza sa,4\n", [], "none of the columns label, species"),
        ("label,beak\nGeospiza sa,4\n", ["beek"], "did you mean beak"),
        ("label,beak\nGeospiza sa,4\nGeospiza sb,large\n", ["beak"], "'large' in row 2 of the column beak"),
        ("label,remark\nGeospiza sa,x\n", [], "no column of numbers beside label"),
        ("label,beak\nGeospiza sa,4\nGeospiza sb,5\n", [], "only 2 species"),
    ],
)
def test_a_mistake_in_the_table_is_reported_and_nothing_written(tmp_path, text, names, words):
    stage, _, _ = made()
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words) as problem:
        analyze_between(
            [stage], tmp_path / "out", species_column="label", traits=tmp_path / "t.csv", trait_names=names,
            permutations=9,
        )  # fmt: skip
    assert "\n" not in str(problem.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv"], "nothing may be written"


def test_all_stages_are_measured_and_the_last_is_at_the_top_level(tmp_path):
    (first, _, _), (last, _, _) = made(noise=3.0, source="early.parquet"), made(source="late.parquet")
    stages = [Stage("25 %", 25.0, first.embeddings), Stage("100 %", 100.0, last.embeddings)]
    result = analyze_between(stages, tmp_path / "out", trait_names=["beak_depth_mm"], permutations=49)
    assert [(stage["name"], stage["position"]) for stage in result["stages"]] == [
        ("25 %", 25.0),
        ("100 %", 100.0),
    ]
    assert result["traits"] == result["stages"][1]["traits"] != result["stages"][0]["traits"]
    early, late = (stage["tree"]["cophenetic"] for stage in result["stages"])
    assert early < late, f"noisy images must agree less with the tree: {early} and {late}"
    assert (tmp_path / "out" / "stages-traits-r_cv.png").stat().st_size > 5_000


def test_pictures_of_species_are_shown_if_available(tmp_path):
    def encoded(row):
        file = tmp_path / f"{row}.png"
        Image.new("RGB", (40, 30), (250, 0, 200)).save(file)
        return file.read_bytes() if row % 5 else b"no picture"

    stage, _, _ = made(picture=encoded)
    analyze_between([stage], tmp_path / "out", trait_names=["beak_depth_mm"], permutations=9)
    with Image.open(tmp_path / "out" / "trait-beak_depth_mm.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    pink = int((np.abs(pixels - (250, 0, 200)).max(axis=1) < 12).sum())
    assert pink > 12 * 40 * 40, f"{pink} pixels of the figure are of pictures"


def test_without_traits_only_the_tree_is_measured_and_without_ranks_nothing(tmp_path):
    stage, _, _ = made()
    result = analyze_between([stage], tmp_path / "out", permutations=9)
    assert result["traits"] == {} and result["tree"]["species"] == 20
    bare = Embeddings(
        vectors=stage.embeddings.vectors, columns=stage.embeddings.columns.select(["label"]),
        picture=lambda row: None, source="bare.parquet",
    )  # fmt: skip
    with pytest.raises(UserError, match="bare.parquet has no ranks"):
        analyze_between([Stage("bare", 0.0, bare)], tmp_path / "bare", species_column="label", permutations=9)
