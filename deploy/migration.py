"""The command that brings the database up to date, which `run.py` also does before it starts anything.

It is safe while processes run and when two do it at once: the second waits for the first and finds nothing to do.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.environment import ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller

ROOT = Path(__file__).resolve().parent.parent


def migrate(root: Path, python: Path, environment: Mapping[str, str]) -> str:
    """Migrate the database that this environment's settings name; returns a line that says what was done.

    Raises StartError where it can't be migrated.
    """
    done = subprocess.run(
        [python, "-m", "millrace.worker.store"],
        cwd=root,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StartError(done.stderr.strip() or f"the migration ended with {done.returncode}")
    return done.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and migrate; returns the exit code."""
    argparse.ArgumentParser(
        prog="deploy/migrate.py",
        description="Bring the database up to date. Safe while Millrace runs, and any number of times.",
        epilog="MILLRACE_DATABASE_URL names the database; the default is SQLite in .millrace.",
        allow_abbrev=False,
    ).parse_args(arguments)
    try:
        python = ensure(ROOT, "run", PipInstaller(_print_line), _print_line)
        _print_line(migrate(ROOT, python, os.environ))
    except StartError as error:
        print(f"The database was not migrated: {error}", file=sys.stderr)
        return 1
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
