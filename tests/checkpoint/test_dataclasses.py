"""Building dataclasses from mappings, and errors that name the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_jax.checkpoint.config import build, to_dict
from bioclip_jax.errors import UserError


@dataclass(frozen=True)
class Inner:
    scale: tuple[float, float] = (0.9, 1.0)
    kind: Literal["fp32", "bf16"] = "fp32"


@dataclass(frozen=True)
class Outer:
    learning_rate: float
    steps: int | None = None
    inner: Inner = field(default_factory=Inner)
    names: tuple[str, ...] = ()


@given(
    rate=st.floats(0, 1),
    steps=st.none() | st.integers(0, 10),
    scale=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    names=st.lists(st.text(), max_size=3),
)
def test_a_config_round_trips_through_a_dict(rate, steps, scale, names):
    config = Outer(rate, steps, Inner(scale), tuple(names))
    assert build(Outer, to_dict(config)) == config


def test_an_int_is_converted_to_a_float():
    assert build(Outer, {"learning_rate": 1}).learning_rate == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"learning_rat": 1.0}, "unknown key config.learning_rat; did you mean learning_rate?"),
        (
            {"learning_rate": 1.0, "inner": {"knd": "fp32"}},
            "unknown key config.inner.knd; did you mean kind?",
        ),
        ({}, "config.learning_rate is not set"),
        ({"learning_rate": "fast"}, "config.learning_rate is 'fast'; it must be a float"),
        ({"learning_rate": 1.0, "steps": 1.5}, "config.steps is 1.5; it must be an int"),
        ({"learning_rate": 1.0, "inner": {"kind": "fp23"}}, "must be one of fp32, bf16; did you mean fp32?"),
        (
            {"learning_rate": 1.0, "inner": {"scale": [1.0]}},
            "config.inner.scale has 1 values; it must have 2",
        ),
        ({"learning_rate": 1.0, "inner": 3}, "config.inner is 3; it must be a group of keys"),
        ({"learning_rate": 1.0, "names": "sci"}, "config.names is 'sci'; it must be a list"),
    ],
)
def test_an_invalid_mapping_is_a_one_line_error_that_names_the_key(values, message):
    with pytest.raises(UserError) as error:
        build(Outer, values)
    assert message in str(error.value) and "\n" not in str(error.value)
