"""The run with a real model is skipped where its packages can't be installed, and fails where it can't start."""

import shutil
import sys
from pathlib import Path

import pytest

from deploy.errors import StartError
from tests.real_model.__main__ import ROOT, main


class Offline:
    """An installer without a network."""

    def create(self, directory: Path, lock: int) -> None:
        """Make an environment with the running Python."""
        (directory / "bin").mkdir(parents=True)
        (directory / "bin" / "python").symlink_to(sys.executable)

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Raise StartError."""
        raise StartError("the package index can't be reached")


class Empty(Offline):
    """An installer that installs nothing."""

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Return at once."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    constraints = Path("deploy") / "constraints" / "model.txt"
    (tmp_path / constraints).parent.mkdir(parents=True)
    shutil.copy(ROOT / constraints, tmp_path / constraints)
    return tmp_path


def test_without_its_packages_every_case_is_skipped_in_words_and_nothing_fails(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], root, Offline()) == 0
    printed = capsys.readouterr().out
    assert "skipped: the model's packages can't be installed: the package index can't be reached\n" in printed
    assert printed.endswith("0 ok, 0 failed, 3 skipped\n")


def test_a_model_that_does_not_start_fails_the_run_with_its_own_words(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], root, Empty()) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("the model's server does not start: ")
    assert "xllamacpp" in printed
