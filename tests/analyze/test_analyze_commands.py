"""The verbs `analyze between` and `analyze within`: one JSON object, a table, or one line of error."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioclip_jax.cli import main

DIM, SPECIES, EACH = 24, 12, 10


@pytest.fixture
def planted(tmp_path):
    """Twelve species with mass as first coordinate, and adults and juveniles apart in the last one."""
    random = np.random.default_rng(4)
    means = np.zeros((SPECIES, DIM))
    means[:, :6] = random.normal(size=(SPECIES, 6))
    mass = means[:, 0] * 10 + 50
    own = np.repeat(np.arange(SPECIES), EACH)
    adult = np.tile(np.arange(EACH) < 6, SPECIES)
    vectors = means[own] + 0.05 * random.normal(size=(len(own), DIM))
    vectors[:, -1] += np.where(adult, 0.8, -0.8)
    vectors[:, -2] += 4  # so that normalising bends little
    names = [f"taxon {letter}" for letter in "abcdefghijkl"]
    columns = {"bird": [names[one] for one in own], "stage": np.where(adult, "adult", "juvenile").tolist()}
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), DIM)
    pq.write_table(pa.table({"emb": vectors, **columns}), tmp_path / "birds.parquet")
    with open(tmp_path / "traits.csv", "w", newline="") as file:
        csv.writer(file).writerows([("bird", "mass_g"), *zip(names, mass.round(3))])
    return tmp_path


def run(capsys, *arguments):
    status = main(["analyze", *map(str, arguments)])
    out = capsys.readouterr()
    return status, out.out, out.err


def test_between_gives_the_planted_trait(planted, capsys):
    arguments = ("between", "--embeddings", planted / "birds.parquet", "--species-column", "bird", "--json")
    status, out, err = run(
        capsys, *arguments, "--traits", planted / "traits.csv", "--output", planted / "out"
    )
    assert status == 0, err
    result = json.loads(out)
    mass = result["traits"]["mass_g"]
    assert mass["r_cv"] > 0.9 and mass["p_cv"] < 0.05, mass
    assert 0 < mass["r"] <= 1 and 0 < mass["p"] <= 1
    assert json.loads((planted / "out" / "results.json").read_text()) == result
    assert {"report.html", "trait-mass_g.png", "trait-mass_g.csv"} <= {
        path.name for path in (planted / "out").iterdir()
    }


def test_within_gives_the_planted_factor(planted, capsys):
    arguments = (
        "within",
        "--embeddings",
        planted / "birds.parquet",
        "--species-column",
        "bird",
        "--factor",
        "stage",
    )
    status, out, err = run(capsys, *arguments, "--output", planted / "out", "--json", "--permutations", 50)
    assert status == 0, err
    result = json.loads(out)
    assert result["separability"] > 0.95 and result["orthogonality"] > 0.9 and result["fisher_ratio"] > 5
    assert result["separability_p"] < 0.05
    # Without --json, a table is printed.
    status, out, err = run(capsys, *arguments, "--output", planted / "out", "--permutations", 50)
    assert (
        status == 0
        and "stage" in out
        and "separability" in out
        and max(map(len, out.splitlines())) <= 80
        and "report.html" in err
    )


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("between", "--embeddings", "birds.parquet", "--species-column", "brid"), "did you mean bird"),
        (("between", "--embeddings", "gone.parquet"), "gone.parquet does not exist"),
        (("between", "--embeddings", "traits.csv"), "traits.csv"),
        (
            ("within", "--embeddings", "birds.parquet", "--species-column", "bird", "--factor", "stags"),
            "stage",
        ),
        (("within", "--model", "nowhere", "--factor", "stage"), "--data, or --images with --labels"),
        (("within", "--factor", "stage"), "--embeddings, or --model with --data"),
        (("between", "--embeddings", "birds.parquet", "--where", "bird"), "COLUMN=VALUE"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(planted, capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(planted)
    status, out, err = run(capsys, *arguments, "--output", "out")
    assert status == 2 and out == "" and words in err.splitlines()[-1], err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1
    assert not (planted / "out").exists()
