"""The benchmarks run in tiny sizes; their figures mean nothing here, and their peers are not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.scenario import Row, Scenario, discover
from tests.bench.table import fold, render

ROOT = Path(__file__).parent.parent.parent
NAMES = ["streams", "resume", "whole", "worker", "start", "steps", "store", "capacity"]
WANTED = ["Millrace", "bare send", "plain loop", "direct call", "SQLite"]  # need nothing that is not installed


def test_rounds_are_folded_into_medians_and_ratios() -> None:
    scenario = Scenario("s", "a load", lambda _: iter(()), "cost µs")
    rows = [
        Row(system, {"cost µs": cost, "undelivered": 0})
        for system, costs in (("Millrace", (5, 90, 10)), ("a peer", (40, 30, 35)))
        for cost in costs
    ]
    ours, theirs = fold(scenario, rows)
    assert (ours.medians["cost µs"], ours.ratio) == (10, 1)
    assert (theirs.medians["cost µs"], theirs.ratio) == (35, 3.5)
    assert len(theirs.rounds) == 3
    assert (
        "| a peer   |      35 |           0 |                 3.50 |" in render(scenario, [ours, theirs]).splitlines()
    )


def test_each_case_is_compared_with_ours_in_the_same_case() -> None:
    scenario = Scenario("s", "a load", lambda _: iter(()), "KB")
    rows = [
        Row(system, {"KB": kb}, case)
        for system, case, kb in (
            ("Millrace", "few", 2),
            ("a peer", "few", 8),
            ("Millrace", "many", 4),
            ("a peer", "many", 8),
        )
    ]
    assert [line.ratio for line in fold(scenario, rows)] == [1, 4, 1, 2]


@pytest.mark.timeout(1200)  # it is many runs in one
def test_every_scenario_runs_and_writes_its_results(tmp_path: Path) -> None:
    """In one process, because the imports of both tiers take longer than the tiny sizes."""
    assert {*NAMES} <= {*discover()}
    command = [sys.executable, "-m", "tests.bench", *NAMES, "--quick", "--out", str(tmp_path)]
    for wanted in WANTED:
        command += ["--only", wanted]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    for name in NAMES:
        kept = json.loads((tmp_path / f"{name}.json").read_text("utf-8"))
        systems = {line["system"].partition(",")[0] for line in kept["lines"]}
        assert systems <= {*WANTED, "streamed", "stream: false"}, name
        assert all(line["medians"].get("undelivered", 0) == 0 for line in kept["lines"]), name
        assert kept["compared"] in run.stdout, name
