"""The project's own Python environments: made once, made again when incomplete, never by two processes at once.

`.venv` holds the packages that run and test the project; `.venv-bench` the peers of its benchmarks; `.venv-model` a
model that runs on the CPU; `.venv-assets` an npm for machines without one. A stamp inside names the sets of packages
that it holds, each by the hash of its constraints file. While an environment is being made there is a marker instead of
the stamp, so that an interrupted one is recognised. An environment with neither was made by the user: it is completed
in place and never deleted.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

from deploy.errors import StartError

PackageSet = Literal["run", "test", "bench", "model", "assets"]
# The test set includes the run set.
HELD_SETS: dict[PackageSet, tuple[PackageSet, ...]] = {
    "run": ("run",),
    "test": ("test", "run"),
    "bench": ("bench",),
    "model": ("model",),
    "assets": ("assets",),
}
DIRECTORIES: dict[PackageSet, str] = {
    "run": ".venv",
    "test": ".venv",
    "bench": ".venv-bench",
    "model": ".venv-model",
    "assets": ".venv-assets",
}
CHECKOUT = "millrace-checkout.pth"  # what an editable install would write
VERSION_PROGRAM = (
    "import sys; assert sys.version_info >= (3, 11); print(sys.version.split()[0], sys.implementation.cache_tag)"
)
PrintLine = Callable[[str], None]


class Installer(Protocol):
    """Makes and fills an environment; `lock` is a descriptor that its processes must keep open."""

    def create(self, directory: Path, lock: int) -> None:
        """Make an empty environment with pip in it; raises StartError."""
        ...

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Install a constraints file; raises StartError."""
        ...


def ensure(root: Path, wanted: PackageSet, installer: Installer, print_line: PrintLine) -> Path:
    """Return the Python of an environment that holds the wanted set; makes the environment where it is missing.

    Raises StartError that says what is missing.
    """
    directory = root / DIRECTORIES[wanted]
    try:
        return _ensure(directory, root, wanted, installer, print_line)
    except OSError as error:
        advice = ""
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            advice = (
                "; make the checkout writable, or install it as a package and start its processes, as "
                "deploy/docs/running.md describes"
            )
        raise StartError(f"the environment {directory} can't be made: {error.strerror}{advice}") from error


def _ensure(directory: Path, root: Path, wanted: PackageSet, installer: Installer, print_line: PrintLine) -> Path:
    python = directory / "bin" / "python"
    if _holds(directory, root, wanted):
        make_importable(directory, root)
        return python
    with _lock(root, print_line) as lock:
        if _holds(directory, root, wanted):  # another process made it during the wait
            return python
        (directory / "stamp.json").unlink(missing_ok=True)
        if directory.exists() and not _is_usable(directory):
            print_line(f"the environment in {directory.name} is incomplete or broken; making it again")
            shutil.rmtree(directory)
        marker = directory / "unfinished"
        if not directory.exists():
            print_line(f"making the environment in {directory.name} (only the first time)")
            directory.mkdir()
            marker.touch()
            installer.create(directory, lock)
        marker.touch()
        installer.install(python, _constraints(root, wanted), directory / "install.log", lock)
        make_importable(directory, root)
        stamp(root, wanted)
        marker.unlink()
    return python


def stamp(root: Path, held: PackageSet) -> None:
    """Write into the environment that it holds this set and the sets that it includes."""
    directory = root / DIRECTORIES[held]
    content = {"python": _version(directory)} | {each: _hash(_constraints(root, each)) for each in HELD_SETS[held]}
    draft = directory / "stamp.draft"
    draft.write_text(json.dumps(content), "ascii")
    draft.replace(directory / "stamp.json")


def make_importable(directory: Path, root: Path) -> None:
    """Put the checkout's package on the environment's path: `.package/millrace` links to `webapp/` and `worker/`."""
    for packages in directory.glob("lib/python3.*/site-packages"):
        link, line = packages / CHECKOUT, f"{root / '.package'}\n"
        if not link.is_file() or link.read_text("utf-8") != line:
            link.write_text(line, "utf-8")


def base_python() -> str:
    """Return the interpreter outside any environment: the running one may be deleted together with its environment."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _holds(directory: Path, root: Path, wanted: PackageSet) -> bool:
    if (directory / "unfinished").exists():
        return False
    try:
        stamped = json.loads((directory / "stamp.json").read_text("ascii"))
    except (OSError, ValueError):
        return False
    # The environment reports its version itself, because the Python below it may have been replaced since.
    return stamped.get(wanted) == _hash(_constraints(root, wanted)) and stamped.get("python") == _version(directory)


def _is_usable(directory: Path) -> bool:
    has_pip = any(directory.glob(f"lib/python{sysconfig.get_python_version()[0]}.*/site-packages/pip/__main__.py"))
    return not (directory / "unfinished").exists() and bool(_version(directory)) and has_pip


def _version(directory: Path) -> str:
    """Return the version of the environment's Python, "" where it does not start or is too old."""
    try:
        answer = subprocess.run(
            [directory / "bin" / "python", "-I", "-S", "-c", VERSION_PROGRAM],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _constraints(root: Path, wanted: PackageSet) -> Path:
    return root / "deploy" / "constraints" / f"{wanted}.txt"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _lock(root: Path, print_line: PrintLine) -> Generator[int]:
    """Lock the project's directory itself, so that no lock file is left behind.

    The installer's processes inherit the descriptor: when this process is killed, they hold the lock until they end.
    """
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_line("waiting for another command that is making the environment")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
