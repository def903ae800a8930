"""The evaluation guide: its numbered differences, and the existence of the tests that it cites."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "bioclip_jax" / "evaluate" / "README.md").read_text(encoding="utf-8")
ROWS = [line for line in GUIDE.splitlines() if re.match(r"\| \d+\. ", line)]


def test_every_difference_from_the_reference_has_a_row():
    numbers = [int(row[2:].partition(".")[0]) for row in ROWS]
    assert numbers == sorted(numbers) and set(numbers) == set(range(1, 17)), f"the rows are {numbers}"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.py::\w+)`", GUIDE))))
def test_cited_tests_exist(name):
    file, _, test = name.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert test in functions, f"bioclip_jax/evaluate/README.md cites tests/{name}, which does not exist"
