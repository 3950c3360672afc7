"""A short soak is part of every run; a long soak, and a soak of a mutated copy, are started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak.mutations import MUTATIONS, apply_mutation

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(400)
def test_half_a_minute_of_random_faults_violates_no_invariant() -> None:
    command = [sys.executable, "-m", "tests.soak", "--minutes", "0.5", "--size", "30"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "violations: 0" in run.stdout
    print(run.stdout)


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_rule_that_a_mutation_removes_exists(name: str, tmp_path: Path) -> None:
    root = apply_mutation(name, tmp_path)
    assert (root / "wsgi.py").is_file()
