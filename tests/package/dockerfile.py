"""The image of the Dockerfile, built without Docker: each instruction is done as it stands, in a directory of the test.

The machine's own `/usr` and Python stand in for the base image. pip keeps its cache, and compiles only what is used.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.package.containers import Container, make_root

_INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$", re.DOTALL)
_BUILD_SECONDS = 600
_BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
PORT = 8000  # of the image's command and of its health check


@dataclass
class Stage:
    """One stage of a build, as its instructions have made it so far."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _BASE_PATH})
    directory: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list[str])
    healthcheck: list[str] = field(default_factory=list[str])

    def container(self, directory: Path) -> Container:
        """Return a container of this image, whose `/tmp` is the directory; its root file system is read-only."""
        return Container(self.root, self.user, self.directory, directory, self.environment)

    def command_on(self, port: int) -> list[str]:
        """Return the image's own command, on a port of the loopback: the containers share the machine's network."""
        return [each.replace(f"0.0.0.0:{PORT}", f"127.0.0.1:{port}") for each in self.command]


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the name and the arguments of each instruction of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = [_INSTRUCTION.match(line) for line in joined.splitlines() if line.strip()]
    return [(each[1], each[2].strip()) for each in found if each]


def make_context(checkout: Path, ignore_file: Path, directory: Path) -> None:
    """Copy the tracked files that a build is sent, by the patterns of the ignore file."""
    sent = [line[1:] for line in ignore_file.read_text().split() if line.startswith("!")]
    listed = subprocess.run(["git", "ls-files"], cwd=checkout, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if any(name == each or name.startswith(f"{each}/") for each in sent):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / name, directory / name, follow_symlinks=False)


def build(text: str, context: Path, directory: Path) -> Stage:
    """Do all instructions in the order of the Dockerfile, and return its last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, arguments in instructions(text):
        if name == "FROM":
            _, _, alias = arguments.partition(" AS ")
            stage = Stage(make_root(directory / f"stage-{len(stages)}"))
            stages[alias or str(len(stages))] = stage
        else:
            assert stage is not None
            _do(name, arguments, stage, stages, context)
    assert stage is not None
    return stage


def _do(name: str, arguments: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    match name:
        case "WORKDIR":
            stage.directory = arguments
            (stage.root / arguments.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "COPY":
            _copy(arguments, stage, stages, context)
        case "RUN":
            _run(arguments, stage)
        case "ENV":
            for each in shlex.split(arguments):
                key, _, value = each.partition("=")
                stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])
        case "USER":
            stage.user = arguments
        case "HEALTHCHECK":
            stage.healthcheck = json.loads(arguments.partition(" CMD ")[2])
        case "CMD":
            stage.command = json.loads(arguments)
        case "EXPOSE" | "STOPSIGNAL":
            pass
        case _:
            raise AssertionError(f"the instruction {name} has no counterpart here")


def _copy(arguments: str, stage: Stage, stages: dict[str, Stage], context: Path) -> None:
    *sources, target = [each for each in arguments.split() if not each.startswith("--from=")]
    (origin,) = re.findall(r"--from=(\S+)", arguments) or [""]
    base = stages[origin].root if origin else context
    for source in sources:
        place = (
            stage.root / stage.directory.lstrip("/") / target if not target.startswith("/") else stage.root / target[1:]
        )
        found = base / source.lstrip("/")
        if found.is_file():
            shutil.copy(found, place)
        else:  # a copy of the files' names is enough: nothing changes them
            copy = os.link if origin else shutil.copy2
            shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True, copy_function=copy)


def _run(command: str, stage: Stage) -> None:
    home = Path.home()
    binds = {f"/root/{name}": home / name for name in (".cache", ".npm") if (home / name).is_dir()}
    kept = {name: value for name, value in os.environ.items() if re.match(r"(?i)pip_|npm_config|\w+_proxy$|ssl_", name)}
    container = Container(stage.root, stage.user, stage.directory, None, {**kept, **stage.environment}, binds)
    shell = ["/bin/sh", "-c", command.replace(" --no-cache-dir", "")]
    done = container.run(shell, _BUILD_SECONDS, HOME="/root", PIP_NO_COMPILE="1")
    if done.returncode:  # a package index may be away for a moment
        done = container.run(shell, _BUILD_SECONDS, HOME="/root", PIP_NO_COMPILE="1")
    assert done.returncode == 0, f"RUN {command}\n{done.stdout[-3000:]}"
