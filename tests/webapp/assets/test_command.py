"""The console script, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

from millrace.webapp.assets.command import NO_NPM_CODE
from millrace.webapp.assets.installation import location

COMMAND = [sys.executable, "-m", "millrace.webapp.assets"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; npm finds a registry that does not answer."""
    given = {**os.environ, "npm_config_registry": "http://127.0.0.1:1/", "npm_config_cache": "", **environment}
    return subprocess.run([*COMMAND, *arguments], env=given, capture_output=True, text=True, check=False)


def test_command_prints_where_the_files_are(tmp_path: Path) -> None:
    location(tmp_path).mkdir()
    for done in (run(str(tmp_path)), run(MILLRACE_ASSETS_DIR=str(tmp_path))):
        assert (done.returncode, done.stdout) == (0, f"the page's libraries are in {location(tmp_path)}\n")


def test_command_names_the_cause_in_one_line(tmp_path: Path) -> None:
    cache = str(tmp_path / "cache")
    offline = run(str(tmp_path / "assets"), npm_config_cache=cache)
    assert offline.returncode == 1
    assert offline.stderr.startswith("the page's libraries could not be installed: npm failed: ")
    assert offline.stderr.count("\n") == 1
    (tmp_path / "bin").mkdir()
    bare = subprocess.run(
        [sys.executable, "-S", "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, check=True
    )
    assert bare.stdout
    without = run(str(tmp_path / "assets"), PATH=str(tmp_path / "bin"), HIDE="1")
    assert without.returncode in (1, NO_NPM_CODE)
    bad = run(MILLRACE_LEASE_SECONDS="never")
    assert bad.returncode == 1
    assert "MILLRACE_LEASE_SECONDS" in bad.stderr
