"""The tables of faults and of endings name tests that exist; and row 40, about clocks."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TABLE = (ROOT / "worker" / "docs" / "architecture.md").read_text("utf-8")
TESTS = {
    node.name: path
    for path in (ROOT / "tests").rglob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TABLE))))
def test_every_test_named_in_the_tables_exists(name: str) -> None:
    assert name in TESTS


def test_every_row_has_a_line_and_every_fault_test_a_row() -> None:
    rows = {int(number) for number in re.findall(r"^\| ([0-9]+) \|", TABLE, re.MULTILINE)}
    assert rows == set(range(1, 59))
    named = set(re.findall(r"`(test_rows?_\w+)`", TABLE))
    faults = {name: path for name, path in TESTS.items() if path.parent.name == "faults" and path != Path(__file__)}
    ours = {name for name, path in faults.items() if not path.name.startswith(("test_attacks", "test_tls"))}
    assert ours <= named


def test_row_40_no_decision_depends_on_the_clock_of_a_machine() -> None:
    """Leases, deadlines in Redis and epochs go by Redis's TIME; processes measure spans by `monotonic` alone.

    An export of a user's data states when it was made, which decides nothing. A cookie is dated by the web that signs
    it and expires after a year: clocks may differ by minutes.
    """
    read: list[str] = []
    for path in [*(ROOT / "worker").rglob("*.py"), *(ROOT / "webapp").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                name = f"{node.value.id}.{node.attr}"
                if name in ("time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"):
                    read.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    dated = {"webapp/owner_data/export.py", "webapp/guard/auth/session.py"}
    assert {each.partition(":")[0] for each in read} <= dated, read
