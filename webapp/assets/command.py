"""The console script `millrace-assets`: installs the page's libraries into `MILLRACE_ASSETS_DIR`."""

import argparse
import sys
from pathlib import Path

from millrace.webapp.assets.bundles import bundle
from millrace.webapp.assets.installation import NpmMissing, install
from millrace.worker.errors import MillraceError
from millrace.worker.settings.schema import load

NO_NPM_CODE = 3  # the exit code by which deploy/run.py learns that npm is missing


def main() -> None:
    """Install the libraries and print their directory; exits with 3 where npm is missing, with 1 on other failures."""
    parser = argparse.ArgumentParser(
        prog="millrace-assets",
        description="Install the page's libraries (markdown, code, math) with npm. Without them the page shows plain "
        "text. Does nothing where they are installed; safe to run in parallel.",
    )
    parser.add_argument("directory", type=Path, nargs="?", help="instead of MILLRACE_ASSETS_DIR")
    directory: Path | None = parser.parse_args().directory
    try:
        assets = directory or Path(load().http.assets_directory)
        installed = install(assets)
        bundle(assets)
    except MillraceError as error:
        sys.stderr.write(f"the page's libraries could not be installed: {error}\n")
        sys.exit(NO_NPM_CODE if isinstance(error, NpmMissing) else 1)
    sys.stdout.write(f"the page's libraries are in {installed}\n")
