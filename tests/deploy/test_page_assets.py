"""The installation of the page's libraries at the start, with a shell script in the place of the command."""

import os
from pathlib import Path

import pytest

from deploy.errors import StartError
from deploy.page_assets import NO_NPM_CODE, assets_directory, install_assets

COMMAND = f"""#!/bin/sh
command -v npm >/dev/null || {{ echo "there is no npm" >&2; exit {NO_NPM_CODE}; }}
npm "$3"
"""


class NpmInstaller:
    """An installer whose environment holds an npm, unless the package index fails."""

    def __init__(self, obstacle: str = "") -> None:
        self.installed: list[str] = []
        self._obstacle = obstacle

    def create(self, directory: Path, lock: int) -> None:
        """Make the environment's folder of programs."""
        (directory / "bin").mkdir(parents=True)

    def install(self, python: Path, constraints: Path, log: Path, lock: int) -> None:
        """Write an npm that makes the directory it is given."""
        if self._obstacle:
            raise StartError(self._obstacle)
        self.installed.append(constraints.name)
        write_program(python.parent / "npm", '#!/bin/sh\n/bin/mkdir -p "$1"\n')


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout on a machine without npm."""
    (tmp_path / "deploy/constraints").mkdir(parents=True)
    (tmp_path / "deploy/constraints/assets.txt").write_text("# an npm\n")
    write_program(tmp_path / "python", COMMAND)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("MILLRACE_ASSETS_DIR", raising=False)
    return tmp_path


def installed_by(root: Path, installer: NpmInstaller) -> list[str]:
    """Install, and return the printed lines."""
    lines: list[str] = []
    install_assets(root, root / "python", installer, lines.append)
    return lines


def test_machine_without_npm_gets_one_in_its_own_environment(root: Path) -> None:
    installer = NpmInstaller()
    lines = installed_by(root, installer)
    assert installer.installed == ["assets.txt"]
    assert lines == ["making the environment in .venv-assets (only the first time)"]
    assert assets_directory(root).is_dir()
    assert not (root / ".venv").exists()


def test_npm_of_the_machine_is_used_and_the_setting_names_the_directory(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = NpmInstaller("must not be asked")
    write_program(root / "bin/npm", '#!/bin/sh\n/bin/mkdir -p "$1"\n')
    monkeypatch.setenv("MILLRACE_ASSETS_DIR", str(root / "elsewhere"))
    assert installed_by(root, installer) == []
    assert (root / "elsewhere").is_dir()
    assert not assets_directory(root).exists()


def test_start_goes_on_without_the_libraries_and_says_why(root: Path) -> None:
    assert installed_by(root, NpmInstaller("the package index can't be reached")) == [
        "making the environment in .venv-assets (only the first time)",
        "the page shows plain text until its next start: there is no npm, and the package index can't be reached",
    ]
    write_program(root / "bin/npm", "#!/bin/sh\necho 'npm failed: code ENOTFOUND' >&2; exit 1\n")
    (line,) = installed_by(root, NpmInstaller())
    assert line == "the page shows plain text until its next start: npm failed: code ENOTFOUND"
    assert os.environ["PATH"] == str(root / "bin"), "the environment of this process stays"
