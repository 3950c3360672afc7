"""A short soak is part of every run; a long one, and one with a rule taken out, is asked for by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.sabotage import SABOTAGES, sabotage

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(400)
def test_a_minute_of_random_faults_violates_nothing() -> None:
    command = [sys.executable, "-m", "tests.soak", "--minutes", "1", "--size", "30"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "violations: 0" in run.stdout
    print(run.stdout)


@pytest.mark.parametrize("name", SABOTAGES)
def test_every_rule_that_can_be_taken_out_is_there(name: str, tmp_path: Path) -> None:
    root = sabotage(name, tmp_path)
    assert (root / "wsgi.py").is_file()
