"""Shards of small made-up tests, run by real pytest processes: second runs, the verdict and the tally."""

import re
import sys
from pathlib import Path

import pytest

from deploy import check_runner
from deploy.check_runner import Checks, Shard, run_all
from tests.deploy.system.supervised import ROOT

PASSES = "def test_passes(): pass\n"
FAILS = "def test_fails(): assert 0, 'always'\n"
PASSES_THE_SECOND_TIME = """
import pathlib
def test_{name}():
    seen = pathlib.Path(__file__).with_name("{name}.seen")
    print("first" if not seen.exists() else "second", "run of {name}")
    if not seen.exists():
        seen.touch()
        assert 0, "it was slow"
"""


@pytest.fixture(autouse=True)
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pytest processes, which run in another directory, find their plugin, and load no others."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def shard(root: Path, name: str, source: str, *options: str) -> Shard:
    (root / name).mkdir()
    (root / name / f"test_{name}.py").write_text(source)
    pytest_command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(root), *options)
    return Shard(name, pytest_command, (name,))


def run(root: Path, *sources: str) -> tuple[int, list[str]]:
    """Run a shard for each source; returns the exit code and the printed lines."""
    printed: list[str] = []
    shards = [shard(root, name, source) for name, source in zip("abcd", sources, strict=False)]
    code = run_all(shards, [], root, printed.append)
    return code, "\n".join(printed).split("\n")


def test_last_line_is_the_tally_of_all_shards(tmp_path: Path) -> None:
    code, lines = run(tmp_path, PASSES, PASSES)
    assert (code, lines[-2:]) == (0, ["flaky: 0", "2 passed, 0 failed, 0 skipped"])
    assert len(re.findall(r"=== a: \d+ s of a processor", "\n".join(lines))) == 1


def test_no_more_shards_run_at_once_than_are_allowed_and_they_start_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_runner, "AT_ONCE", 1)
    notes = tmp_path / "notes"
    source = (
        "import time\ndef note(text): open({!r}, 'a').write(text)\n"
        "def test_it(): note('{} '); time.sleep(0.2); note('/ ')"
    )
    code, lines = run(tmp_path, *(source.format(str(notes), name) for name in "abc"))
    assert (code, lines[-1]) == (0, "3 passed, 0 failed, 0 skipped")
    assert notes.read_text() == "a / b / c / "


def test_pass_in_the_second_run_counts_as_passed_and_is_printed_as_flaky(tmp_path: Path) -> None:
    code, lines = run(tmp_path, PASSES, PASSES + PASSES_THE_SECOND_TIME.format(name="slow"))
    assert (code, lines[-2:]) == (0, ["flaky: 1", "3 passed, 0 failed, 0 skipped"])
    outputs = lines[lines.index("FLAKY: b/test_b.py::test_slow") :]
    first, second = outputs.index("first run of slow"), outputs.index("second run of slow")
    assert any("it was slow" in line for line in outputs[:first])
    assert first < outputs.index("--- passed alone:") < second


def test_second_failure_fails_the_run(tmp_path: Path) -> None:
    code, lines = run(tmp_path, PASSES, PASSES + FAILS)
    assert (code, lines[-1]) == (1, "2 passed, 1 failed, 0 skipped")
    assert "FAILED TWICE: b/test_b.py::test_fails" in lines
    assert "flaky: 0" in lines
    assert "FAILED: b/test_b.py::test_fails (failed twice)" in lines


def test_three_flaky_tests_pass_the_run_and_four_fail_it(tmp_path: Path) -> None:
    for count, expected in ((3, 0), (4, 1)):
        (root := tmp_path / str(count)).mkdir()
        source = "".join(PASSES_THE_SECOND_TIME.format(name=f"slow{number}") for number in range(count))
        code, lines = run(root, source)
        assert code == expected
        assert f"flaky: {count}" in lines
        assert lines[-1] == f"{count} passed, 0 failed, 0 skipped"
    assert "FAILED: 4 flaky tests, more than 3" in lines


def test_more_failures_than_are_run_again_fail_the_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_runner, "MAX_RERUNS", 1)
    code, lines = run(tmp_path, PASSES_THE_SECOND_TIME.format(name="slow"), FAILS)
    assert (code, lines[-1]) == (1, "0 passed, 2 failed, 0 skipped")
    assert not [line for line in lines if line.startswith("running again")]


def test_shard_without_proper_results_fails_the_run_without_a_second_one(tmp_path: Path) -> None:
    cases = {
        "crash": ("import os\ndef test_crashes(): os._exit(0)\n", "1 passed, 0 failed, 0 skipped"),
        "crash after a failure": (FAILS + "import os\ndef test_z(): os._exit(1)\n", "1 passed, 1 failed, 0 skipped"),
        "collection error": ("nonsense =", "1 passed, 1 failed, 0 skipped"),
        "no tests": ("", "1 passed, 0 failed, 0 skipped"),
        "end of the session": (
            "import pytest\ndef test_ends(): pytest.exit('enough')\n",
            "1 passed, 0 failed, 0 skipped",
        ),
    }
    for name, (source, tally) in cases.items():
        (root := tmp_path / name.replace(" ", "_")).mkdir()
        code, lines = run(root, PASSES, source)
        assert (code, lines[-1]) == (1, tally), name
        assert "FAILED: b (pytest ended without running all tests)" in lines, name
        assert not [line for line in lines if line.startswith("running again")], name


def test_shard_that_takes_too_long_is_stopped_and_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_runner, "LIMIT_SECONDS", 2.0)
    code, lines = run(tmp_path, "import time\ndef test_hangs(): time.sleep(60)\n")
    assert code == 1
    assert "FAILED: a (stopped after 2 s)" in lines


def test_skip_in_the_second_run_is_a_failure(tmp_path: Path) -> None:
    skips = PASSES_THE_SECOND_TIME.format(name="slow") + "    else:\n        __import__('pytest').skip('not today')\n"
    code, lines = run(tmp_path, skips)
    assert (code, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_second_run_has_the_options_of_its_shard(tmp_path: Path) -> None:
    (tmp_path / "patches.py").write_text("import builtins\nbuiltins.is_marked = True\n")
    source = "import builtins\nassert builtins.is_marked\n" + PASSES_THE_SECOND_TIME.format(name="slow")
    printed: list[str] = []
    marked = shard(tmp_path, "a", source, "-p", "patches")
    assert run_all([marked], [], tmp_path, printed.append) == 0
    assert printed[-2:] == ["flaky: 1", "1 passed, 0 failed, 0 skipped"]


def test_fixture_that_fails_once_after_its_test_leaves_one_pass_in_the_tally(tmp_path: Path) -> None:
    source = PASSES_THE_SECOND_TIME.format(name="slow").replace(
        "def test_slow():", "@pytest.fixture\ndef slow():\n    yield"
    )
    code, lines = run(tmp_path, f"import pytest\n{source}\ndef test_it(slow): pass\n")
    assert (code, lines[-2:]) == (0, ["flaky: 1", "1 passed, 0 failed, 0 skipped"])


def test_node_ids_with_brackets_colons_and_spaces_are_run_again(tmp_path: Path) -> None:
    names = ["a[b]", "c::d/e f", "g'h\"i"]
    source = PASSES_THE_SECOND_TIME.format(name="slow").replace("def test_slow():", "def test_slow(name):")
    source = source.replace('"slow.seen"', 'f"{names.index(name)}.seen"')
    marked = source.replace("def test", "@pytest.mark.parametrize('name', names)\ndef test", 1)
    code, lines = run(tmp_path, f"import pytest\nnames = {names!r}\n{marked}")
    assert (code, lines[-2:]) == (0, ["flaky: 3", "3 passed, 0 failed, 0 skipped"])


def test_failed_static_check_fails_the_run_and_the_next_one_still_runs(tmp_path: Path) -> None:
    printed: list[str] = []
    python = (sys.executable, "-c")
    static = Checks("static", ((*python, "raise SystemExit('bad style')"), (*python, "print('types')")))
    assert run_all([shard(tmp_path, "a", PASSES)], [static], tmp_path, printed.append) == 1
    assert any("bad style\ntypes" in line for line in printed)
    assert printed[-2:] == ["FAILED: static", "1 passed, 0 failed, 0 skipped"]
