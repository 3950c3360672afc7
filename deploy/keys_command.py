"""The command that adds, lists and revokes API keys, also while the system runs."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.api_keys import KeyFile
from deploy.errors import StartError
from deploy.system.state_directory import StateDirectory

ROOT = Path(__file__).resolve().parent.parent
_COLUMNS = ("id", "owner", "name", "created", "last4")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags; exits with 2 and a message where they are wrong."""
    parser = argparse.ArgumentParser(
        prog="deploy/keys.py",
        description="API keys for programs that send `Authorization: Bearer KEY`. A running system takes them at once.",
        allow_abbrev=False,
    )
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument(
        "--state", type=Path, default=ROOT / ".millrace", metavar="DIR", help="the state directory (.millrace)"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser("add", parents=[state], help="make a key and print it, once", allow_abbrev=False)
    add.add_argument("owner", metavar="OWNER", help="the user whose answers the key creates and reads")
    add.add_argument("--name", default="", metavar="TEXT", help="a note of the key's use")
    commands.add_parser("list", parents=[state], help="list the keys, without the keys themselves", allow_abbrev=False)
    revoke = commands.add_parser("revoke", parents=[state], help="make a key invalid", allow_abbrev=False)
    revoke.add_argument("key", metavar="ID|KEY", help="the id that `list` shows, or the key")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the flags choose; returns the exit code."""
    flags = parse(arguments)
    keys = KeyFile(StateDirectory(flags.state))
    try:
        if flags.command == "add":
            key, record = keys.add(flags.owner, flags.name)
            _print_note(f"The key {record.id} of {record.owner}. It is shown only now:")
            print(key)
        elif flags.command == "revoke":
            record = keys.revoke(flags.key)
            _print_note(f"The key {record.id} of {record.owner} is revoked.")
        else:
            for row in _rows(keys):
                print(row)
    except StartError as error:
        print(f"Nothing was changed: {error}", file=sys.stderr)
        return 1
    return 0


def _rows(keys: KeyFile) -> list[str]:
    """Return the lines of the table, each column as wide as its longest value."""
    table = [_COLUMNS, *(tuple(str(getattr(each, name)) for name in _COLUMNS) for each in keys.read())]
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _print_note(line: str) -> None:
    """Print to standard error, so that standard output holds nothing but the key."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
