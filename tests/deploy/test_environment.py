"""The environment is made once, made anew when half-made, and never by two at once; no network is needed here."""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy.environment import base_python, ensure, stamp
from deploy.installer import PipInstaller
from deploy.refusal import Refusal
from tests.client import wait_for


class Pretence:
    """An installer that makes a bare environment without pip's files, quickly, and notes what it was asked for."""

    def __init__(self, fails_at: str = "") -> None:
        self.asked: list[str] = []
        self._fails_at = fails_at

    def create(self, directory: Path, lock: int) -> None:
        self._note("create")
        subprocess.run([base_python(), "-m", "venv", "--without-pip", directory], check=True)
        (pip := next(directory.glob("lib/python3.*")) / "site-packages" / "pip").mkdir()
        (pip / "__main__.py").touch()

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        self._note(constraints.stem)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what == self._fails_at:
            raise Refusal("no network")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "deploy" / "constraints").mkdir(parents=True)
    for name in ("run", "test"):
        (tmp_path / "deploy" / "constraints" / f"{name}.txt").write_text(f"# {name}\n")
    return tmp_path


def silent(line: str) -> None:
    """Say nothing."""


def test_it_is_made_once(root: Path) -> None:
    installer = Pretence()
    assert ensure(root, "run", installer, silent) == ensure(root, "run", installer, silent)
    assert installer.asked == ["create", "run"]


def test_the_test_set_serves_the_run_set_but_not_the_other_way(root: Path) -> None:
    installer = Pretence()
    ensure(root, "run", installer, silent)
    ensure(root, "test", installer, silent)
    ensure(root, "run", installer, silent)
    assert installer.asked == ["create", "run", "test"]


def test_changed_constraints_are_installed_into_the_same_environment(root: Path) -> None:
    installer = Pretence()
    ensure(root, "run", installer, silent)
    (root / "deploy" / "constraints" / "run.txt").write_text("# changed\n")
    ensure(root, "run", installer, silent)
    assert installer.asked == ["create", "run", "run"]


@pytest.mark.parametrize("step", ["create", "run"])
def test_a_half_made_one_is_made_anew(root: Path, step: str) -> None:
    with pytest.raises(Refusal):
        ensure(root, "run", Pretence(fails_at=step), silent)
    (root / ".venv" / "left").touch()
    installer = Pretence()
    ensure(root, "run", installer, silent)
    assert installer.asked == ["create", "run"]
    assert not (root / ".venv" / "left").exists()


def test_one_whose_python_is_gone_is_made_anew(root: Path) -> None:
    python = ensure(root, "run", Pretence(), silent)
    python.unlink()
    installer = Pretence()
    ensure(root, "run", installer, silent)
    assert installer.asked == ["create", "run"]


def test_another_python_below_it_than_it_was_made_with_is_noticed(root: Path) -> None:
    ensure(root, "run", Pretence(), silent)
    noted = root / ".venv" / "stamp.json"
    noted.write_text(noted.read_text().replace("cpython-3", "cpython-2"))
    installer = Pretence()
    ensure(root, "run", installer, silent)
    assert installer.asked == ["run"]


def test_somebodys_own_environment_is_completed_and_not_deleted(root: Path) -> None:
    Pretence().create(root / ".venv", 0)
    (root / ".venv" / "precious").touch()
    installer = Pretence()
    ensure(root, "run", installer, silent)
    assert installer.asked == ["run"]
    assert (root / ".venv" / "precious").exists()


def test_the_second_of_two_waits_and_finds_it_made(root: Path) -> None:
    installer, said = Pretence(), list[str]()
    holder = os.open(root, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    second = threading.Thread(target=ensure, args=(root, "run", installer, said.append))
    second.start()
    wait_for(lambda: said == ["waiting for another start that is making the environment"])
    Pretence().create(root / ".venv", 0)
    stamp(root, "run")
    os.close(holder)
    second.join(10)
    assert not second.is_alive()
    assert installer.asked == []


def test_the_real_installer_makes_an_environment_that_runs(root: Path) -> None:
    said: list[str] = []
    python = ensure(root, "run", PipInstaller(said.append), said.append)
    answer = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(root / ".venv")
    assert said == [
        "making the environment in .venv (only the first time)",
        "fetching up to 0 packages, pinned in constraints/run.txt",
    ]


def test_a_package_that_can_not_be_had_is_told_with_the_logs_path(root: Path) -> None:
    (root / "deploy" / "constraints" / "run.txt").write_text(
        f"--no-index\nno-such-thing==1.0 --hash=sha256:{'0' * 64}\n"
    )
    with pytest.raises(Refusal, match=r"no-such-thing==1.0 comes in no form .*/\.venv/install\.log"):
        ensure(root, "run", PipInstaller(silent), silent)


def test_a_python_without_venv_is_told_debians_package(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    package = "apt-get install python{}.{}-venv".format(*sys.version_info)
    with pytest.raises(Refusal, match=package):
        ensure(root, "run", PipInstaller(silent), silent)
