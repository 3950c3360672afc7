"""The parts of the suite, and the flags of `deploy/test.py`."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from deploy.check_command import (
    BUSY,
    NAMED_ONLY,
    OTHER_SECONDS,
    PATCHED,
    PATIENT,
    PATIENT_SECONDS,
    SLOW,
    main,
    quick_shards,
    run_some,
    shards,
)
from deploy.errors import StartError
from tests.deploy.system.supervised import ROOT

SOURCE = "def test_a(): pass\ndef test_b(): assert 0\n"


def make_tests(root: Path, *rooms: str) -> Path:
    for room in rooms:
        (root / "tests" / room).mkdir(parents=True)
        (root / "tests" / room / "test_it.py").write_text(SOURCE)
    return root


def test_every_test_of_this_project_is_in_exactly_one_shard() -> None:
    paths = [path for shard in shards(ROOT, "python") for path in shard.paths]
    assert len(paths) == len(set(paths))
    every = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")}
    files = {path for path in every if path.parts[1] not in NAMED_ONLY}
    reached = [path for path in files for shard in paths if path.is_relative_to(shard)]
    assert sorted(reached) == sorted(files)


def test_only_the_tests_of_the_tiers_run_under_gevents_patches() -> None:
    found, patched_rooms = shards(ROOT, "python"), ("tests/emulator", "tests/webapp", "tests/worker")
    patched = [shard for shard in found if "tests.patched" in shard.pytest]
    assert {Path(path).parts[1] for shard in patched for path in shard.paths} == {"emulator", "webapp", "worker"}
    assert not any(path.startswith(patched_rooms) for each in found if each not in patched for path in each.paths)
    assert len(patched) < len(found)


def test_files_that_mostly_wait_are_spread_evenly() -> None:
    for file in PATIENT_SECONDS:
        assert (ROOT / "tests" / file).exists(), f"tests/{file} was moved: name its new place in PATIENT_SECONDS"
    for name, (_, count) in PATIENT.items():
        groups = [
            [path.removeprefix("tests/") for path in shard.paths]
            for shard in shards(ROOT, "")
            if shard.name.startswith(name)
        ]
        seconds = [sum(PATIENT_SECONDS.get(path, OTHER_SECONDS) for path in group) for group in groups]
        assert len(groups) == count
        assert max(seconds) - min(seconds) <= max(OTHER_SECONDS, 0.1 * max(seconds))


def test_shard_without_tests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no tests at all"):
        shards(make_tests(tmp_path, "deploy"), "python")


def test_quick_leaves_out_systems_and_the_slowest_files_and_nothing_else() -> None:
    for path in SLOW:
        assert (ROOT / "tests" / path).exists(), f"tests/{path} was moved: name its new place in SLOW"
    found = quick_shards(ROOT, "python")
    ignored = {f"tests/{path}" for path in SLOW}
    for shard in found:
        assert {each.removeprefix("--ignore=") for each in shard.pytest if each.startswith("--ignore=")} == ignored
        assert ("tests.patched" in shard.pytest) == (shard.name != "all other tests")
    paths = {path for shard in found for path in shard.paths}
    every = {path for shard in shards(ROOT, "python") for path in shard.paths}
    folders = [
        *(each for folders, _ in PATIENT.values() for each in folders),
        *(each for busy in BUSY.values() for each in busy),
    ]
    spread = tuple(f"tests/{folder}/" for folder in folders)
    assert {path for path in every - paths if not path.startswith(spread)} == {
        f"tests/{room}" for room in ("bench", "live")
    }


def test_quick_runs_no_file_that_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = make_tests(tmp_path, "worker", "worker/store", "webapp", "deploy", "faults", "browser", "journeys")
    ran: list[str] = []
    for shard in quick_shards(root, sys.executable):
        unpatched = [part for part in shard.pytest if part not in PATCHED]
        options = ["-p", "no:cacheprovider", "--rootdir", str(root), "--collect-only", "-q"]
        command = [*unpatched, *options, *shard.paths]
        ran += subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\n")
    files = {line.partition("::")[0] for line in ran if "::" in line}
    assert files == {"tests/worker/test_it.py", "tests/webapp/test_it.py", "tests/deploy/test_it.py"}


def test_given_arguments_run_one_pytest_and_end_with_its_tally(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = make_tests(tmp_path, "a")
    printed: list[str] = []
    options = ["-p", "no:cacheprovider", "--rootdir", str(root)]
    assert run_some([*options, "tests/a", "-k", "not test_b"], root, sys.executable, printed.append) == 0
    assert "1 passed, 1 deselected" in capfd.readouterr().out
    assert run_some([*options, "tests/a"], root, sys.executable, printed.append) == 1
    assert printed == ["1 passed, 0 failed, 0 skipped", "1 passed, 1 failed, 0 skipped"]


def test_help_names_the_flags_and_runs_nothing() -> None:
    for flag in ("--help", "-h"):
        command = [sys.executable, ROOT / "deploy" / "test.py", flag]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert answer.returncode == 0
        assert answer.stdout.startswith("usage: python3 deploy/test.py")
        assert all(
            flag in answer.stdout
            for flag in (
                "--quick",
                "--environment",
                "--soak MINUTES",
                "--bench [NAME ...]",
                "--live",
                "--real-model",
                "pytest",
            )
        )


def test_help_of_the_long_runs_names_their_own_flags_and_runs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments, flag in (
        (["--soak", "--help"], "--seed"),
        (["--bench", "-h"], "--rounds"),
        (["--live", "-h"], "--seconds"),
        (["--real-model", "-h"], "--threads"),
    ):
        assert main(arguments) == 0
        printed = capfd.readouterr().out
        assert printed.startswith("usage: ")
        assert flag in printed


def test_quick_with_other_arguments_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--quick", "tests/deploy"], ["-x", "--quick"]):
        assert main(arguments) == 2
        assert "--quick takes no other arguments" in capsys.readouterr().err


def test_continuous_integration_runs_the_suite_on_every_supported_python() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (matrix,) = re.findall(r"^ +python-version: \[(.*)\]$", workflow, re.MULTILINE)
    versions = re.findall(r'"(3\.\d+)"', matrix)
    prefix = "Programming Language :: Python :: "
    assert versions == [each.removeprefix(prefix) for each in project["classifiers"] if each.startswith(prefix)]
    assert project["requires-python"] == f">={versions[0]}"
    assert re.search(r"^        run: .*\bbash \.ci/run$", workflow, re.MULTILINE)
    for line in (
        "      fail-fast: false",
        "    timeout-minutes: 60",
        "permissions:\n  contents: read",
        "concurrency:\n  group: ",
        "          python-version: ${{ matrix.python-version }}",
    ):
        assert f"\n{line}" in workflow, line


def test_continuous_integration_file_is_indented_by_twos_and_has_no_tab_and_no_duplicate_key() -> None:
    lines = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8").splitlines()
    assert not [line for line in lines if "\t" in line or (len(line) - len(line.lstrip())) % 2]
    top = [line.partition(":")[0] for line in lines if line and line[0].isalpha()]
    assert top == ["name", "on", "permissions", "concurrency", "jobs"]


def test_check_script_is_valid_shell_and_gives_its_arguments_on() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", script], check=True)
    assert script.read_text("utf-8").endswith('exec python3 deploy/test.py "$@"\n')
