"""The project's own Python environments: made once, made anew when half-made, never by two at once.

`.venv` holds what runs and what tests it; `.venv-bench` the peers that it is measured beside.
A stamp inside says which sets of packages it holds: a set is named by its constraints file's hash. While it is
being made a marker lies in it instead, so that one killed in the middle is known for what it is. An environment with
neither is somebody's own: it is completed in place and not deleted.
"""

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

Set = Literal["run", "test", "bench"]
HOLDS: dict[Set, tuple[Set, ...]] = {"run": ("run",), "test": ("test", "run"), "bench": ("bench",)}  # test includes run
PLACES: dict[Set, str] = {"run": ".venv", "test": ".venv", "bench": ".venv-bench"}
CHECKOUT = "millrace-checkout.pth"  # what an editable install would write
VERSION = "import sys; assert sys.version_info >= (3, 11); print(sys.version.split()[0], sys.implementation.cache_tag)"


class Installer(Protocol):
    """Makes the environment and fills it; `lock` is a descriptor that its processes must keep open."""

    def create(self, directory: Path, lock: int) -> None:
        """Make an empty environment with pip in it; raises Refusal."""
        ...

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Install a constraints file; raises Refusal."""
        ...


def ensure(root: Path, wanted: Set, installer: Installer, say: Callable[[str], None]) -> Path:
    """Return the Python of an environment that holds the wanted set; makes it where it is missing.

    Raises Refusal with what is missing.
    """
    directory = root / PLACES[wanted]
    python = directory / "bin" / "python"
    if _holds(directory, root, wanted):
        make_importable(directory, root)
        return python
    with _lock(root, say) as lock:
        if _holds(directory, root, wanted):  # another made it while this one waited
            return python
        (directory / "stamp.json").unlink(missing_ok=True)
        if directory.exists() and not _is_usable(directory):
            say(f"the environment in {directory.name} is half-made or broken: making it anew")
            shutil.rmtree(directory)
        marker = directory / "unfinished"
        if not directory.exists():
            say(f"making the environment in {directory.name} (only the first time)")
            directory.mkdir()
            marker.touch()
            installer.create(directory, lock)
        marker.touch()
        installer.install(python, _constraints(root, wanted), directory / "install.log", lock)
        make_importable(directory, root)
        stamp(root, wanted)
        marker.unlink()
    return python


def stamp(root: Path, held: Set) -> None:
    """Note in the environment that it holds this set, and those that lie in it."""
    directory = root / PLACES[held]
    content = {"python": _version(directory)} | {each: _hash(_constraints(root, each)) for each in HOLDS[held]}
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
    """Return the interpreter outside any environment, because the one that runs may be deleted with its environment."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _holds(directory: Path, root: Path, wanted: Set) -> bool:
    if (directory / "unfinished").exists():
        return False
    try:
        noted = json.loads((directory / "stamp.json").read_text("ascii"))
    except (OSError, ValueError):
        return False
    # The version is asked of the environment: the Python below it may have been replaced since.
    return noted.get(wanted) == _hash(_constraints(root, wanted)) and noted.get("python") == _version(directory)


def _is_usable(directory: Path) -> bool:
    has_pip = any(directory.glob(f"lib/python{sysconfig.get_python_version()[0]}.*/site-packages/pip/__main__.py"))
    return not (directory / "unfinished").exists() and bool(_version(directory)) and has_pip


def _version(directory: Path) -> str:
    """Return what the environment's Python calls itself, "" where it doesn't start or is too old."""
    try:
        answer = subprocess.run(
            [directory / "bin" / "python", "-I", "-S", "-c", VERSION], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _constraints(root: Path, wanted: Set) -> Path:
    return root / "deploy" / "constraints" / f"{wanted}.txt"


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def _lock(root: Path, say: Callable[[str], None]) -> Generator[int]:
    """Hold the project's directory itself, so that no lock file is left behind.

    The installer's processes inherit the descriptor: when this one is killed, theirs hold the lock until they end.
    """
    descriptor = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start that is making the environment")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
