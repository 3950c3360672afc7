"""What the checking command runs, and how it counts."""

import sys
from pathlib import Path

import pytest

from deploy.checks import Job, run_all, run_some, shards
from deploy.refusal import Refusal
from deploy.tally import Tally, tally_of
from tests.deploy.kept import ROOT

PASSES = "def test_a(): pass\n"
FAILS = "def test_b(): assert 0\n"


def pytest_job(path: Path) -> Job:
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(path), str(path))
    return Job(path.name, (command,), is_pytest=True)


def suite(directory: Path, name: str, source: str) -> Path:
    (directory / name).mkdir()
    (directory / name / f"test_{name}.py").write_text(source)
    return directory / name


def test_every_test_of_this_project_lies_in_exactly_one_shard() -> None:
    found = shards(ROOT / "tests")
    assert sum(map(len, found)) == len(set().union(*found))
    holding = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    reached = [path for path in holding for shard in set().union(*found) if path.is_relative_to(shard)]
    assert sorted(reached) == sorted(holding)


def test_a_shard_without_tests_is_refused(tmp_path: Path) -> None:
    suite(tmp_path, "deploy", PASSES)
    with pytest.raises(Refusal, match="no tests at all"):
        shards(tmp_path)


@pytest.mark.parametrize(
    ("sources", "code", "last"),
    [
        ([PASSES, PASSES], 0, "2 passed, 0 failed, 0 skipped"),
        ([PASSES, PASSES + FAILS], 1, "2 passed, 1 failed, 0 skipped"),
        ([PASSES, "nonsense ="], 1, "1 passed, 1 failed, 0 skipped"),
        ([PASSES, ""], 1, "1 passed, 0 failed, 0 skipped"),
    ],
    ids=["all pass", "one fails", "one can't be read", "one holds no test"],
)
def test_the_last_line_sums_up_and_the_code_tells(tmp_path: Path, sources: list[str], code: int, last: str) -> None:
    said: list[str] = []
    jobs = [pytest_job(suite(tmp_path, name, source)) for name, source in zip("ab", sources, strict=True)]
    assert run_all(jobs, tmp_path, said.append) == code
    assert said[-1] == last
    assert sum(line.startswith("=== a\n") for line in said) == 1


def test_a_failed_static_check_fails_all_and_the_next_still_runs(tmp_path: Path) -> None:
    said: list[str] = []
    python = (sys.executable, "-c")
    static = Job("static", ((*python, "raise SystemExit('bad style')"), (*python, "print('types')")))
    assert run_all([static, pytest_job(suite(tmp_path, "a", PASSES))], tmp_path, said.append) == 1
    assert any("bad style\ntypes" in line for line in said)
    assert said[-2:] == ["FAILED: static", "1 passed, 0 failed, 0 skipped"]


def test_given_arguments_run_one_pytest(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = suite(tmp_path, "a", PASSES + FAILS)
    said: list[str] = []
    arguments = ["-p", "no:cacheprovider", "--rootdir", str(path), str(path), "-k", "not test_b"]
    assert run_some(arguments, tmp_path, sys.executable, said.append) == 0
    assert "1 passed, 1 deselected" in capfd.readouterr().out
    assert said == ["1 passed, 0 failed, 0 skipped"]


@pytest.mark.parametrize(
    ("line", "tally"),
    [
        ("===== 3 passed, 1 skipped in 0.12s =====", Tally(3, 0, 1)),
        ("= 2 failed, 97 passed, 3 errors, 1 xfailed, 9 warnings in 61.00s (0:01:01) =", Tally(97, 5, 1)),
        ("\x1b[32m===== \x1b[32m\x1b[1m14 passed\x1b[0m\x1b[32m in 6.15s\x1b[0m\x1b[32m =====\x1b[0m", Tally(14, 0, 0)),
        ("14 passed, 2 skipped in 6.15s", Tally(14, 0, 2)),
        ("no tests ran in 0.01s", Tally()),
        ("nothing like it", Tally()),
    ],
)
def test_pytests_closing_line_is_counted(line: str, tally: Tally) -> None:
    assert tally_of(f"=== 9 failed in a traceback\n{line}\n") == tally
