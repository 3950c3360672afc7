"""The environment is made once, made again when incomplete, and never by two processes at once; without a network."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deploy.environment import base_python, ensure, stamp
from deploy.errors import StartError
from deploy.installer import PipInstaller
from tests.client import wait_for


class FakeInstaller:
    """An installer that quickly makes an environment without packages, and records its calls."""

    def __init__(self, fails_at: str = "") -> None:
        self.calls: list[str] = []
        self._fails_at = fails_at

    def create(self, directory: Path, lock: int) -> None:
        self._record("create")
        subprocess.run([base_python(), "-m", "venv", "--without-pip", directory], check=True)
        (pip := next(directory.glob("lib/python3.*")) / "site-packages" / "pip").mkdir()
        (pip / "__main__.py").touch()

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        self._record(constraints.stem)

    def _record(self, step: str) -> None:
        self.calls.append(step)
        if step == self._fails_at:
            raise StartError("no network")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "deploy" / "constraints").mkdir(parents=True)
    for name in ("run", "test"):
        (tmp_path / "deploy" / "constraints" / f"{name}.txt").write_text(f"# {name}\n")
    return tmp_path


def silent(line: str) -> None:
    """Print nothing."""


def test_environment_is_made_once(root: Path) -> None:
    installer = FakeInstaller()
    assert ensure(root, "run", installer, silent) == ensure(root, "run", installer, silent)
    assert installer.calls == ["create", "run"]


def test_checkout_that_is_not_writable_is_one_clear_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", mkdir)  # the tests may run as root, which may write everywhere
    with pytest.raises(StartError, match="can't be made: Read-only file system; make the checkout writable, or"):
        ensure(root, "run", FakeInstaller(), silent)


def test_the_test_set_includes_the_run_set_but_not_the_other_way_round(root: Path) -> None:
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    ensure(root, "test", installer, silent)
    ensure(root, "run", installer, silent)
    assert installer.calls == ["create", "run", "test"]


def test_changed_constraints_are_installed_into_the_same_environment(root: Path) -> None:
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    (root / "deploy" / "constraints" / "run.txt").write_text("# changed\n")
    ensure(root, "run", installer, silent)
    assert installer.calls == ["create", "run", "run"]


@pytest.mark.parametrize("step", ["create", "run"])
def test_incomplete_environment_is_made_again(root: Path, step: str) -> None:
    with pytest.raises(StartError):
        ensure(root, "run", FakeInstaller(fails_at=step), silent)
    (root / ".venv" / "left").touch()
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    assert installer.calls == ["create", "run"]
    assert not (root / ".venv" / "left").exists()


def test_environment_without_its_python_is_made_again(root: Path) -> None:
    python = ensure(root, "run", FakeInstaller(), silent)
    python.unlink()
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    assert installer.calls == ["create", "run"]


def test_packages_are_installed_again_for_another_python_version(root: Path) -> None:
    ensure(root, "run", FakeInstaller(), silent)
    stamped = root / ".venv" / "stamp.json"
    stamped.write_text(stamped.read_text().replace("cpython-3", "cpython-2"))
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    assert installer.calls == ["run"]


def test_environment_made_by_the_user_is_completed_and_not_deleted(root: Path) -> None:
    FakeInstaller().create(root / ".venv", 0)
    (root / ".venv" / "precious").touch()
    installer = FakeInstaller()
    ensure(root, "run", installer, silent)
    assert installer.calls == ["run"]
    assert (root / ".venv" / "precious").exists()


def test_second_command_waits_for_the_first_and_uses_its_environment(root: Path) -> None:
    installer, printed = FakeInstaller(), list[str]()
    holder = os.open(root, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    second = threading.Thread(target=ensure, args=(root, "run", installer, printed.append))
    second.start()
    wait_for(lambda: printed == ["waiting for another command that is making the environment"])
    FakeInstaller().create(root / ".venv", 0)
    stamp(root, "run")
    os.close(holder)
    second.join(30)
    assert not second.is_alive()
    assert installer.calls == []


def test_real_installer_makes_an_environment_that_runs(root: Path) -> None:
    printed: list[str] = []
    python = ensure(root, "run", PipInstaller(printed.append), printed.append)
    answer = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(root / ".venv")
    assert printed == [
        "making the environment in .venv (only the first time)",
        "fetching up to 0 packages, pinned in constraints/run.txt",
    ]


def test_unavailable_package_is_reported_with_the_logs_path(root: Path) -> None:
    (root / "deploy" / "constraints" / "run.txt").write_text(
        f"--no-index\nno-such-thing==1.0 --hash=sha256:{'0' * 64}\n"
    )
    with pytest.raises(StartError, match=r"no-such-thing==1.0 has no package that installs .*/\.venv/install\.log"):
        ensure(root, "run", PipInstaller(silent), silent)


def test_python_without_venv_is_reported_with_debians_package(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # pyright: ignore[reportUnknownLambdaType]
    package = "apt-get install python{}.{}-venv".format(*sys.version_info)
    with pytest.raises(StartError, match=package):
        ensure(root, "run", PipInstaller(silent), silent)
