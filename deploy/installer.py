"""Fill an environment with `venv` and `pip`, with lines of progress, and words for each way it fails."""

import importlib.util
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from deploy.environment import base_python
from deploy.refusal import Refusal

# Options of the user's pip that would put packages elsewhere than into the environment.
ELSEWHERE = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
STEP = 10  # packages between two lines of progress
NETWORK = re.compile(
    r"Failed to establish a new connection|Name or service not known|Temporary failure in name resolution"
    r"|Network is unreachable|Connection refused|ConnectTimeout|Read timed out|ProxyError|nodename nor servname"
    r"|SSLError|CERTIFICATE_VERIFY_FAILED|Max retries exceeded|NewConnectionError|NameResolutionError"
)
NO_WHEEL = re.compile(
    r"No matching distribution found for (\S+)|Failed (?:building wheel|to build) (?:for )?'?([\w.-]+)"
)


class PipInstaller:
    """The installer of both commands; pip's own words go into a log, and what matters of them to `say`."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def create(self, directory: Path, lock: int) -> None:
        """Make an environment with pip in it; raises Refusal where Python's own parts for that are missing."""
        if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
            raise Refusal(no_venv(sys.version_info[:2]))
        made = subprocess.run(
            [base_python(), "-m", "venv", directory], capture_output=True, text=True, check=False, pass_fds=(lock,)
        )
        if made.returncode:
            if "ensurepip" in made.stdout + made.stderr:
                raise Refusal(no_venv(sys.version_info[:2]))
            raise Refusal(f"the environment {directory} could not be made:\n{made.stdout}{made.stderr}".rstrip())

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Install the pinned packages, each checked against its hash; raises Refusal with the log's path."""
        total = len(re.findall(r"^[\w.\[\]-]+==", constraints.read_text("utf-8"), re.MULTILINE))
        self._say(f"fetching up to {total} packages, pinned in {constraints.parent.name}/{constraints.name}")
        command = [python, "-m", "pip", "install", "--require-hashes", "--no-input", "--progress-bar", "off"]
        environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        with (
            log.open("w", encoding="utf-8") as kept,
            subprocess.Popen(
                [*command, "--disable-pip-version-check", "-r", constraints],
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
            for line in condensed(_kept(pip.stdout, kept.write), total):
                self._say(line)
        if pip.returncode:
            raise Refusal(why_failed(log.read_text("utf-8"), log))


def _kept(lines: Iterable[str], keep: Callable[[str], object]) -> Iterable[str]:
    for line in lines:
        keep(line)
        yield line


def condensed(lines: Iterable[str], total: int) -> Iterable[str]:
    """Yield the few lines of pip's that tell a person how far it is."""
    count = 0
    for line in lines:
        if line.startswith(("Collecting ", "Processing ", "Requirement already satisfied: ")):
            count += 1
            if count % STEP == 0:
                yield f"  {count} of {total} packages"
        elif line.startswith("Installing collected packages"):
            yield "  unpacking"


def no_venv(version: tuple[int, int]) -> str:
    """Return the words for a Python without its venv or ensurepip module."""
    package = "python{}.{}-venv".format(*version)
    return (
        "this Python lacks the modules venv and ensurepip, which make the environment. On Debian and Ubuntu they are a "
        f"package of their own: apt-get install {package} (or python3-venv)"
    )


def why_failed(output: str, log: Path) -> str:
    """Return the words for a failed installation, told from pip's output."""
    where = f"pip's own words are in {log}"
    missing = NO_WHEEL.search(output)
    if "DO NOT MATCH THE HASHES" in output:
        return f"a package is not the one that was pinned: its hash differs. Nothing of it was installed; {where}"
    if NETWORK.search(output):
        return f"the package index can't be reached, and the first start needs it (is there a network?); {where}"
    if missing:
        name = missing[1] or missing[2]
        machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        return f"{name} comes in no form that installs on this platform ({machine}); {where}"
    if "No space left on device" in output:
        return f"the disk is full; {where}"
    return "pip failed: {}; {}".format((output.strip().splitlines() or ["it said nothing"])[-1], where)
