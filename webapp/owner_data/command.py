"""The console script `millrace-data`: export or delete what is stored of an owner, or set how long it is kept."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from millrace.webapp.owner_data.erasure import Erased, Erasure, Found
from millrace.webapp.owner_data.export import export
from millrace.webapp.owner_data.owned_keys import OwnerKeys, SettingKeys
from millrace.webapp.owner_data.stores import Stores
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.streams import connect_streams
from millrace.worker.errors import MillraceError
from millrace.worker.settings.parsers import is_owner
from millrace.worker.settings.schema import Settings, load
from millrace.worker.store import retention
from millrace.worker.store.database import Database, engine_url
from millrace.worker.store.image_files import ImageFiles

REDIS_SECONDS = 5.0
DATABASE_SECONDS = 30.0  # nobody waits for a page
MAX_DAYS = 36_500

_EPILOG = "MILLRACE_DATABASE_URL names the database, MILLRACE_REDIS_URL the Redis, as for the processes."


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: str = "millrace-data",
    epilog: str = _EPILOG,
    directory: Path | None = None,
    state_keys: OwnerKeys | None = None,
) -> int:
    """Run a command and return its exit code.

    A relative output is one of `directory`, by default of the working directory. `state_keys` are the API keys of a
    state directory.
    """
    flags = _parse(arguments, program, epilog)
    logging.disable(logging.CRITICAL)  # standard error has the one line that counts
    try:
        settings = _with_patience(load())
        _check_file(settings)
        keys = state_keys or SettingKeys(settings)
        match flags.command:
            case "export":
                output = flags.output and (directory or Path()) / flags.output
                return _export(settings, keys, flags.owner, output)
            case "delete":
                return _delete(settings, keys, flags.owner, is_asked=not flags.yes)
            case _:
                return _retain(settings, flags.owner, flags.days)
    except (MillraceError, OSError, ValueError) as error:
        _note(f"{flags.command}: not complete: {error}")
        return 1


def _parse(arguments: Sequence[str] | None, program: str, epilog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description="What Millrace stores of one owner.", epilog=epilog, allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    exported = commands.add_parser("export", help="write what is stored of an owner as JSON", allow_abbrev=False)
    exported.add_argument("-o", "--output", type=Path, metavar="FILE", help="the file to write, not the terminal")
    deleted = commands.add_parser("delete", help="delete all that is stored of an owner", allow_abbrev=False)
    deleted.add_argument("--yes", action="store_true", help="do not ask")
    for each in (exported, deleted):
        each.add_argument("owner", metavar="OWNER", help="the user, as MILLRACE_AUTH identifies them")
    retained = commands.add_parser(
        "retain", help="set for how many days an owner's data is kept, or list all", allow_abbrev=False
    )
    retained.add_argument("owner", metavar="OWNER", nargs="?", help="without one, all owners with days of their own")
    retained.add_argument("days", metavar="DAYS", nargs="?", help="a number, `forever`, or `default` for the setting")
    flags = parser.parse_args(arguments)
    if flags.command == "retain" and flags.owner is not None and not _is_days(flags.days or ""):
        retained.error(f"takes a number of days from 1 to {MAX_DAYS}, `forever` or `default`")
    return flags


def _is_days(given: str) -> bool:
    return given in ("forever", "default") or (
        re.fullmatch("[0-9]{1,5}", given, re.ASCII) is not None and 1 <= int(given) <= MAX_DAYS
    )


def _with_patience(settings: Settings) -> Settings:
    return settings.replace(database_seconds=max(settings.database.seconds, DATABASE_SECONDS))


def _check_file(settings: Settings) -> None:
    path = engine_url(settings.database.url).database
    if settings.database.url.startswith("sqlite") and path and ":" not in path and not Path(path).exists():
        raise ValueError(f"{path}, the database, does not exist; name it with MILLRACE_DATABASE_URL")


def _export(settings: Settings, keys: OwnerKeys, owner: str, output: Path | None) -> int:
    database = Database(settings)
    try:
        is_known = _write(export(database, keys.of(owner), owner), output)
    finally:
        database.close()
    if not is_known:
        _note(f"Nothing is stored of an owner {owner!r}.")
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


def _delete(settings: Settings, keys: OwnerKeys, owner: str, *, is_asked: bool) -> int:
    streams = connect_streams(settings, timeout_seconds=REDIS_SECONDS)
    limits = connect(settings.limits.redis_url or settings.redis.url, timeout_seconds=REDIS_SECONDS)
    database, task_queue = Database(settings), TaskQueue(settings)
    try:
        stores = Stores(settings, streams, database, ImageFiles(settings.images.directory))
        erasure = Erasure(stores, task_queue, limits, owner)
        found, count = erasure.find(), len(keys.of(owner))
        if is_asked and not (found.is_empty and not count) and not _confirm(owner, found, count):
            return 1
        revoked = keys.revoke(owner)  # first, so that no program goes on asking
        erased, left = erasure.erase()
    finally:
        task_queue.close()
        database.close()
        streams.close()
        limits.close()
    _print_erased(owner, erased, revoked)
    if erased.messages and not settings.images.directory:
        _note("MILLRACE_IMAGE_DIR is not set here: web processes that have it delete the images within 27 hours.")
    if kept := keys.of(owner):
        _note(f"{len(kept)} API keys of {owner!r} are still valid. {keys.advice()}")
    if not left.is_empty:
        _note(f"{owner!r} has stored more meanwhile. Take their access away, then delete again.")
    return 0 if left.is_empty and not kept else 1


def _confirm(owner: str, found: Found, keys: int) -> bool:
    if not sys.stdin.isatty():
        _note("Nothing was deleted: where no terminal can be asked, --yes deletes without asking.")
        return False
    held = found.holdings
    _note(
        f"There are {held.conversations} conversations with {held.messages} messages, {held.memories} memories, "
        f"{held.profiles} profiles, {len(found.generations)} generations in Redis ({found.running} running) and "
        f"{keys} API keys of {owner!r}. A deletion can't be undone."
    )
    sys.stderr.write("Type the owner to delete all of it: ")
    sys.stderr.flush()
    is_confirmed = sys.stdin.readline().rstrip("\n") == owner
    if not is_confirmed:
        _note("Nothing was deleted.")
    return is_confirmed


def _print_erased(owner: str, erased: Erased, revoked: int) -> None:
    lines = {
        "conversations": erased.conversations,
        "messages": erased.messages,
        "memories": erased.memories,
        "profiles": erased.profiles,
        "generations in Redis": erased.generations,
        "of them cancelled": erased.cancelled,
        "other keys in Redis": erased.keys,
        "API keys": revoked,
    }
    if any(lines.values()):
        sys.stdout.write("Deleted: " + ", ".join(f"{number} {name}" for name, number in lines.items()) + ".\n")
    else:
        sys.stdout.write(f"Nothing is stored of an owner {owner!r}.\n")


def _retain(settings: Settings, owner: str | None, days: str | None) -> int:
    database = Database(settings)
    try:
        if owner is not None:
            if not is_owner(owner):
                raise ValueError(f"{owner!r} can't be an owner")
            if days == "default":
                database.run(lambda session: retention.reset_days(session, owner))
            else:
                number = None if days == "forever" else int(days or 0)
                database.run(lambda session: retention.set_days(session, owner, number))
        listed = database.run(retention.list_days)
    finally:
        database.close()
    shown = [each for each in listed if owner in (None, each.owner)]
    for each in shown:
        sys.stdout.write(f"{each.owner}: {'forever' if each.days is None else each.days}\n")
    if owner is None or not shown:
        by_setting = f"{settings.database.retention_days or 'forever'} (MILLRACE_RETENTION_DAYS)"
        sys.stdout.write(f"{'all others' if owner is None else owner}: {by_setting}\n")
    return 0


def _note(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
