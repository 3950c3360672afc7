"""The installer that uses `venv` and `pip`: prints progress, and explains each way in which they fail."""

import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.environment import PrintLine, base_python
from deploy.errors import StartError

# Options of the user's pip that would install packages outside the environment.
REDIRECTIONS = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
PROGRESS_STEP = 10  # packages between two lines of progress
NETWORK_ERROR = re.compile(
    r"Failed to establish a new connection|Name or service not known|Temporary failure in name resolution"
    r"|Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|nodename nor servname"
    r"|SSLError|CERTIFICATE_VERIFY_FAILED|Max retries exceeded|NewConnectionError|NameResolutionError"
)
NO_INDEX = re.compile(r"no-index='(1|true|yes|on|t|y)'", re.IGNORECASE)
NO_WHEEL = re.compile(
    r"No matching distribution found for (\S+)|Failed (?:building wheel|to build) (?:for )?'?([\w.-]+)"
)


class PipInstaller:
    """The installer of all commands; pip's output goes into a log, a summary of its progress to `print_line`.

    `options` are further ones of `pip install`.
    """

    def __init__(self, print_line: PrintLine, *options: str) -> None:
        self._print_line = print_line
        self._options = options

    def create(self, directory: Path, lock: int) -> None:
        """Make an environment with pip in it; raises StartError where Python's venv or ensurepip is missing."""
        if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
            raise StartError(missing_venv_message(sys.version_info[:2]))
        made = subprocess.run(
            [base_python(), "-m", "venv", directory], capture_output=True, text=True, check=False, pass_fds=(lock,)
        )
        if made.returncode:
            if "ensurepip" in made.stdout + made.stderr:
                raise StartError(missing_venv_message(sys.version_info[:2]))
            raise StartError(f"the environment {directory} could not be made:\n{made.stdout}{made.stderr}".rstrip())

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Install the pinned packages, each checked against its hash; raises StartError with the log's path."""
        total = len(re.findall(r"^[\w.\[\]-]+==", constraints.read_text("utf-8"), re.MULTILINE))
        self._print_line(f"fetching up to {total} packages, pinned in {constraints.parent.name}/{constraints.name}")
        command = [python, "-m", "pip", "install", "--require-hashes", "--no-input", "--progress-bar", "off"]
        environment = {name: value for name, value in os.environ.items() if name not in REDIRECTIONS}
        with (
            log.open("w", encoding="utf-8") as log_file,
            subprocess.Popen(
                [*command, *self._options, "--disable-pip-version-check", "-r", constraints],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=(lock,),
            ) as pip,
        ):
            assert pip.stdout
            for line in progress(_copied(pip.stdout, log_file.write), total):
                self._print_line(line)
        if pip.returncode:
            raise StartError(failure_message(log.read_text("utf-8"), log, _pip_options(python)))


def _copied(lines: Iterable[str], write: Callable[[str], object]) -> Iterable[str]:
    for line in lines:
        write(line)
        yield line


def progress(lines: Iterable[str], total: int) -> Iterable[str]:
    """Yield a line of progress for every tenth package of pip's output."""
    count = 0
    for line in lines:
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
            count += 1
            if count % PROGRESS_STEP == 0:
                yield f"  {count} of {total} packages"
        elif line.startswith("Installing collected packages"):
            yield "  unpacking"


def missing_venv_message(version: tuple[int, int]) -> str:
    """Return the message for a Python without its venv or ensurepip module."""
    package = "python{}.{}-venv".format(*version)
    return (
        "this Python lacks the modules venv and ensurepip, which make the environment. On Debian and Ubuntu they are a "
        f"separate package: apt-get install {package} (or python3-venv)"
    )


def _pip_options(python: Path) -> str:
    """Return the user's own options of pip, one a line, from its configuration files and the environment."""
    command = [python, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def failure_message(output: str, log: Path, options: str = "") -> str:
    """Return the message for a failed installation, from pip's output and the user's options of pip."""
    where = f"pip's output is in {log}"
    missing = NO_WHEEL.search(output)
    if "DO NOT MATCH THE HASHES" in output:
        return f"a package is not the pinned one: its hash differs. Nothing of it was installed; {where}"
    if missing and NO_INDEX.search(options):
        return (
            "pip may not use its package index, and the first start needs it: unset PIP_NO_INDEX, or no-index in pip's "
            f"configuration; {where}"
        )
    if NETWORK_ERROR.search(output):
        return f"the package index can't be reached, and the first start needs it (is there a network?); {where}"
    if missing:
        name = missing[1] or missing[2]
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        return f"{name} has no package that installs on this platform ({machine}); {where}"
    if "No space left on device" in output:
        return f"the disk is full; {where}"
    return "pip failed: {}; {}".format((output.strip().splitlines() or ["without any output"])[-1], where)
