"""Bringing the database up to date: by a command of its own, and before anything else starts.

Safe while processes run and when two do it at once: the second waits for the first and finds nothing to do.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.environment import ensure
from deploy.installer import PipInstaller
from deploy.refusal import Refusal

ROOT = Path(__file__).resolve().parent.parent


def migrate(root: Path, python: Path, environment: Mapping[str, str]) -> str:
    """Migrate the database of this environment's settings; returns what became of it, raises Refusal."""
    done = subprocess.run(
        [python, "-m", "millrace.worker.store"],
        cwd=root,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refusal(done.stderr.strip() or f"the migration ended with {done.returncode}")
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
        python = ensure(ROOT, "run", PipInstaller(_say), _say)
        _say(migrate(ROOT, python, os.environ))
    except Refusal as refusal:
        print(f"no migration: {refusal}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
