"""The file through which a pytest process reports to the command that started it: its writer, its reader, its tally.

One JSON object a line: `{"test", "outcome", "text"}` for each result, `{"collect", "outcome", "text"}` for a file that
can't be collected or skips itself as a whole, and `{"exit"}` with pytest's exit code at the end. Without the last line
the process crashed or was killed.

Loaded as a pytest plugin: `-p deploy.result_log --results-file PATH`. It imports the standard library only, and nothing
that gevent has to patch first.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

OPTION = "--results-file"
PLUGIN = "deploy.result_log"
FINISHED = (0, 1)  # all passed, some failed; pytest's other codes mean that not all tests were run


@dataclass(frozen=True)
class CaseResult:
    """One result of a test; a test whose body passes and whose fixture then fails has two.

    `outcome` is "passed", "failed" (also in a fixture) or "skipped" (also an expected failure).
    """

    node_id: str
    outcome: str
    text: str = ""
    is_collection: bool = False


@dataclass(frozen=True)
class Tally:
    """Number of tests by outcome; an error in a fixture or at collection counts as failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(self.passed - other.passed, self.failed - other.failed, self.skipped - other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclass(frozen=True)
class ResultLog:
    """The content of a results file; `exit_code` is None where pytest did not reach its end."""

    results: tuple[CaseResult, ...]
    exit_code: int | None

    @property
    def is_complete(self) -> bool:
        """True where pytest collected and ran all tests that it was given, whatever their outcome."""
        has_collection_error = any(each.is_collection and each.outcome == "failed" for each in self.results)
        return self.exit_code in FINISHED and not has_collection_error

    def failures(self) -> dict[str, str]:
        """Return the report of each failed test by its node id, in the order of the run."""
        texts: dict[str, list[str]] = {}
        for each in self.results:
            if each.outcome == "failed":
                texts.setdefault(each.node_id, []).append(each.text)
        return {node_id: "\n".join(parts) for node_id, parts in texts.items()}

    def has_passed(self, node_id: str) -> bool:
        """Return whether the test passed and pytest found no fault; a skipped test has not passed."""
        return self.exit_code == 0 and any(
            each.node_id == node_id and each.outcome == "passed" for each in self.results
        )

    def tally(self, node_ids: Collection[str] | None = None) -> Tally:
        """Return the number of results by outcome; of some tests only, where they are named."""
        counts = Counter(each.outcome for each in self.results if node_ids is None or each.node_id in node_ids)
        return Tally(counts["passed"], counts["failed"], counts["skipped"])


def read(path: Path) -> ResultLog:
    """Return what a pytest process has written so far; nothing where there is no file."""
    results: list[CaseResult] = []
    exit_code: int | None = None
    for entry in _entries(path):
        if "exit" in entry:
            exit_code = entry["exit"]
        else:
            is_collection = "collect" in entry
            node_id = entry["collect" if is_collection else "test"]
            results.append(CaseResult(node_id, entry["outcome"], entry["text"], is_collection))
    return ResultLog(tuple(results), exit_code)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # the process was killed while it wrote its last line
            return


class ResultWriter:
    """The pytest plugin: appends a line for each result and flushes it, so that a crash loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """Write a test's outcome, and a fault of its fixtures."""
        if report.when == "call" or not report.passed:
            self._write({"test": report.nodeid, "outcome": report.outcome, "text": _text_of(report)})

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        """Write a file that can't be collected, or that skips itself."""
        if not report.passed:
            self._write({"collect": report.nodeid, "outcome": report.outcome, "text": _text_of(report)})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Write pytest's exit code."""
        self._write({"exit": int(exitstatus)})

    def pytest_unconfigure(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def _text_of(report: "pytest.TestReport | pytest.CollectReport") -> str:
    """Return a failed test's traceback and everything that was captured from it; nothing for the others."""
    if not report.failed:
        return ""
    captured = [f"--- {title} ---\n{content.rstrip()}" for title, content in report.sections if content.strip()]
    return "\n".join([report.longreprtext.rstrip(), *captured])


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Add the option that names the file."""
    parser.addoption(OPTION, metavar="PATH", help="append each test's outcome to this file, as JSON lines")


def pytest_configure(config: "pytest.Config") -> None:
    """Start to write where a file is named."""
    if path := config.getoption(OPTION):
        config.pluginmanager.register(ResultWriter(Path(path)), "result log writer")
