"""The export as a program: `python -m deploy.owner_data`, which `deploy/data.py` starts in the environment."""

import argparse
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.api_keys import KeyFile
from deploy.errors import StartError
from deploy.owner_data.export import export
from deploy.state_directory import StateDirectory
from millrace.worker.errors import MillraceError
from millrace.worker.settings.schema import load
from millrace.worker.store.database import Database, engine_url


def main() -> int:
    """Write the export of an owner; returns 1 where nothing is stored or it cannot be read or written."""
    parser = argparse.ArgumentParser(prog="deploy/data.py export", allow_abbrev=False)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("owner")
    flags = parser.parse_args()
    logging.disable(logging.CRITICAL)  # standard error has the one line that counts
    try:
        settings = load()
        path = engine_url(settings.database.url).database
        if settings.database.url.startswith("sqlite") and path and ":" not in path and not Path(path).exists():
            raise StartError(f"{path}, the database, does not exist; name it with --state or MILLRACE_DATABASE_URL")
        keys = [each for each in KeyFile(StateDirectory(flags.state)).read() if each.owner == flags.owner]
        database = Database(settings)
        try:
            is_known = _write(export(database, keys, flags.owner), flags.output)
        finally:
            database.close()
    except (MillraceError, StartError, OSError) as error:
        print(f"The export is not complete: {error}", file=sys.stderr)
        return 1
    if not is_known:
        print(f"Nothing is stored of an owner {flags.owner!r}.", file=sys.stderr)
    return 0 if is_known else 1


def _write(pieces: Iterable[bytes], output: Path | None) -> bool:
    """Write the pieces to standard output, or to a file that appears only when it is whole; False if there are none."""
    if output is None:
        is_known = False
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            is_known = True
        sys.stdout.buffer.flush()
        return is_known
    draft = output.with_name(f".{output.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(pieces)
            is_known = file.tell() > 0
        if is_known:
            draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)
    return is_known


if __name__ == "__main__":
    sys.exit(main())
