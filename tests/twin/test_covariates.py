"""Covariates from the deployments and from a further table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bioclip_jax.errors import UserError
from bioclip_jax.twin.estimate.covariates import add_columns, covariate_values

DEPLOYMENTS = pl.DataFrame(
    {
        "deploymentID": ["a", "b", "c", "d"],
        "cameraHeight": ["1", "2", "3", "2"],
        "habitat": ["marsh", "forest", "forest", "dune"],
        "baitUse": ["false"] * 4,
        "cameraDepth": ["", "1", "2", "3"],
    }
)


def test_numbers_stay_and_text_becomes_indicators():
    height = covariate_values(DEPLOYMENTS, ["cameraHeight"])
    np.testing.assert_array_equal(height["cameraHeight"], [1, 2, 3, 2])
    habitat = covariate_values(pl.concat([DEPLOYMENTS] * 2), ["habitat"])
    assert list(habitat) == ["habitat: dune", "habitat: marsh"], "forest, the most frequent, is the reference"
    np.testing.assert_array_equal(habitat["habitat: dune"], [0, 0, 0, 1] * 2)
    np.testing.assert_array_equal(habitat["habitat: marsh"], [1, 0, 0, 0] * 2)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("cameraHigh", "no column cameraHigh; did you mean cameraHeight?"),
        ("cameraDepth", "deployment a has no cameraDepth"),
        ("baitUse", "baitUse is 'false' at every deployment"),
        ("habitat", "habitat has 3 levels at 4 deployments"),
    ],
)
def test_unusable_covariates_are_refused(column, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        covariate_values(DEPLOYMENTS, [column])


def test_columns_of_a_table_join_by_deployment(tmp_path):
    table = tmp_path / "terrain.csv"
    table.write_text("deploymentID;elevation\nb;20\na;10\nd;40\nc;30\n")
    joined = add_columns(DEPLOYMENTS, table)
    assert joined["elevation"].to_list() == ["10", "20", "30", "40"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("deploymentID,elevation\na,1\nb,2\nc,3\n", "no row for deploymentID 'd'"),
        ("deploymentID,elevation\na,1\na,2\nb,1\nc,1\nd,1\n", "deploymentID 'a' twice"),
        ("deploymentID,habitat\na,1\nb,1\nc,1\nd,1\n", "has the column habitat"),
        ("locationID,elevation\na,1\n", "by locationID, which the deployments lack"),
        ("camera,elevation\na,1\n", "no column deploymentID or locationID"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, content, message):
    table = tmp_path / "terrain.csv"
    table.write_text(content)
    with pytest.raises(UserError, match=message):
        add_columns(DEPLOYMENTS, table)
