"""The console script `millrace-migrate`, also `python -m millrace.worker.store`: migrates the configured database."""

import argparse
import sys

from millrace.worker.errors import MillraceError
from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate


def main() -> None:
    """Migrate the database that `MILLRACE_DATABASE_URL` names, and print its revision; exits with 1 on failure."""
    argparse.ArgumentParser(
        prog="millrace-migrate",
        description="Migrate the database named by MILLRACE_DATABASE_URL to the latest revision. Safe to run again and "
        "in parallel.",
    ).parse_args()
    try:
        before, after = migrate(load())
    except MillraceError as error:
        sys.exit(f"the database could not be migrated: {error}")
    change = "unchanged" if before == after else f"was {before or 'empty'}"
    sys.stdout.write(f"the database is at revision {after} ({change})\n")
