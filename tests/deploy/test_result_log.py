"""The results that a real pytest process writes, and what the reader makes of them."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.result_log import OPTION, PLUGIN, ResultLog, Tally, read
from tests.deploy.system.supervised import ROOT

EVERY_OUTCOME = """
import pytest
def test_passes(): pass
def test_fails():
    print("printed before")
    assert 1 == 2
@pytest.mark.skip
def test_is_skipped(): pass
@pytest.mark.xfail
def test_is_expected_to_fail(): assert 0
@pytest.fixture
def breaks_before(): raise OSError("no setup")
@pytest.fixture
def breaks_after():
    yield
    raise OSError("no end")
def test_has_no_setup(breaks_before): pass
def test_has_no_end(breaks_after): pass
@pytest.mark.parametrize("name", ["a[b]", "c::d/e f"])
def test_takes_names(name): pass
"""


def results_of(directory: Path, source: str, *options: str) -> ResultLog:
    (directory / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(directory), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    results = directory / "results"
    subprocess.run(
        [*command, "-p", PLUGIN, OPTION, str(results)], cwd=directory, env=environment, capture_output=True, check=False
    )
    return read(results)


def test_every_outcome_is_counted_as_pytest_counts_it(tmp_path: Path) -> None:
    log = results_of(tmp_path, EVERY_OUTCOME)
    assert log.tally() == Tally(passed=4, failed=3, skipped=2)
    assert (log.exit_code, log.is_complete) == (1, True)
    assert [node_id.partition("::")[2] for node_id in log.failures()] == [
        "test_fails",
        "test_has_no_setup",
        "test_has_no_end",
    ]


def test_report_of_a_failed_test_holds_its_traceback_and_its_captured_output(tmp_path: Path) -> None:
    report = results_of(tmp_path, EVERY_OUTCOME).failures()["test_it.py::test_fails"]
    assert "assert 1 == 2" in report
    assert "Captured stdout call" in report
    assert "printed before" in report


def test_collection_error_is_a_failure_and_the_log_is_not_complete(tmp_path: Path) -> None:
    log = results_of(tmp_path, "nonsense =")
    assert (log.tally(), log.is_complete) == (Tally(failed=1), False)
    log = results_of(tmp_path, "import pytest; pytest.skip('all of it', allow_module_level=True)")
    assert log.tally() == Tally(failed=1, skipped=1)  # the file is appended to


def test_collection_errors_that_pytest_is_made_to_ignore_leave_the_log_incomplete(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("nonsense =")
    log = results_of(tmp_path, "def test_passes(): pass", "--continue-on-collection-errors")
    assert (log.exit_code, log.tally(), log.is_complete) == (1, Tally(passed=1, failed=1), False)


def test_crash_leaves_the_results_before_it_and_no_exit_code(tmp_path: Path) -> None:
    log = results_of(tmp_path, "import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\n")
    assert (log.tally(), log.exit_code, log.is_complete) == (Tally(passed=1), None, False)


def test_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text('{"test": "a", "outcome": "passed", "text": ""}\n{"exi')
    assert read(path).tally() == Tally(passed=1)
    assert read(tmp_path / "none") == ResultLog((), None)


def test_skipped_test_has_not_passed(tmp_path: Path) -> None:
    log = results_of(tmp_path, "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip()\n")
    assert log.has_passed("test_it.py::test_a")
    assert not log.has_passed("test_it.py::test_b")
