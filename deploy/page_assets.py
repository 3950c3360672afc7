"""The page's libraries for the systems that `deploy/run.py` starts: installed once in a checkout, with npm."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.environment import Installer, PrintLine, ensure
from deploy.errors import StartError

SETTING = "MILLRACE_ASSETS_DIR"
NO_NPM_CODE = 3  # as in webapp/assets/command.py


def assets_directory(root: Path) -> Path:
    """Return the directory of a checkout, the same for all its systems."""
    return root / ".millrace" / "assets"


def install_assets(root: Path, python: Path, installer: Installer, print_line: PrintLine) -> None:
    """Install the page's libraries where they are missing; without them the page works, and a line says why.

    Where there is no npm, the environment `.venv-assets` brings one.
    """
    directory = Path(os.environ.get(SETTING) or assets_directory(root))
    done = _run(root, python, directory, os.environ)
    try:
        if done.returncode == NO_NPM_CODE:
            programs = ensure(root, "assets", installer, print_line).parent
            path = os.pathsep.join([str(programs), os.environ.get("PATH", os.defpath)])
            done = _run(root, python, directory, {**os.environ, "PATH": path})
        obstacle = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    except StartError as error:
        obstacle = f"there is no npm, and {error}"
    if obstacle:
        print_line(f"the page shows plain text until its next start: {obstacle}")


def _run(root: Path, python: Path, directory: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "millrace.webapp.assets", directory]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
