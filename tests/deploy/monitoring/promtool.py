"""Prometheus's own checks, where its program is installed: `prometheus` of Debian has it, which `.ci/run` installs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_SECONDS = 240  # it needs five of a processor for the alerts, which others use, too


def installed(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails where CI is set."""
    program = shutil.which(name)
    if program is None:
        if "CI" in os.environ:
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return program


def promtool(*arguments: str, text: str = "", directory: Path | None = None) -> str:
    """Run promtool, assert that it finds nothing wrong, and return its output.

    Skips the test where it is not installed, unless CI is set.
    """
    program = installed("promtool")
    run = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, cwd=directory, check=False, timeout=_SECONDS
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0, output
    return output
