"""Makes one small script of each entry and all that it imports: one request of a first visit instead of sixty.

The page works without: where there are no bundles of exactly these scripts, the scripts themselves are served. So a
developer sees each change at once.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from millrace.webapp.assets.installation import AssetsUnavailable, bundler_location, location
from millrace.webapp.static_files import STATIC, page_files

ENTRIES = ("page.js", "widget.js", "client.js")
_OPTIONS = ("--bundle", "--format=esm", "--minify", "--target=es2023", "--charset=utf8", "--log-level=error")
_SECONDS = 60.0
_PREFIX = "bundles-"
_KEPT = 2  # those of this release, and of the one that it replaces while both run


def bundles_location(directory: Path) -> Path:
    """Return the absolute path of the bundles of the page's present scripts, whether or not it exists."""
    return directory.absolute() / f"{_PREFIX}{page_files().version()[:16]}"


def bundle(directory: Path) -> Path | None:
    """Make the bundles where they are missing, and return their path; None without a bundler for this machine.

    Of the bundles of other releases only those that were made or asked for last stay. Raises AssetsUnavailable.
    """
    target, bundler = bundles_location(directory), bundler_location(location(directory))
    if not target.is_dir():
        if not bundler.exists():
            return None
        _make(directory, bundler, target)
    with contextlib.suppress(OSError):  # another user's directory: the order of the releases is not worth a failure
        os.utime(target)
        _remove_old(directory, target)
    return target


def _make(directory: Path, bundler: Path, target: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix=".draft-", dir=directory) as draft:
            files = Path(draft) / "files"
            command = [bundler, *ENTRIES, *_OPTIONS, f"--outdir={files}"]
            done = subprocess.run(  # noqa: S603 - the program's address is ours, and the lock file fixes its bytes
                command, cwd=STATIC, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            if done.returncode:
                raise AssetsUnavailable(f"the scripts could not be bundled: {done.stderr.strip()[:500]}")
            for path in (files, *files.iterdir()):
                path.chmod(0o755 if path.is_dir() else 0o644)
            files.rename(target)
    except (OSError, subprocess.TimeoutExpired) as error:
        if not target.is_dir():  # else another process has made the same files
            raise AssetsUnavailable(f"the scripts could not be bundled: {error}") from error


def _remove_old(directory: Path, target: Path) -> None:
    others = [path for path in directory.absolute().glob(f"{_PREFIX}*") if path != target]
    newest_first = sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
