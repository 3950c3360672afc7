"""Ids of generations, conversations and messages, and the cursor into a log."""

import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

BUCKETS = 64

_ID_CHARACTERS = 32
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_GENERATION = re.compile(r"[0-9a-f]{32}|[0-9a-f]{30}n[0-9a-z]|[0-9a-f]{29}n[0-9a-z]{2}", re.ASCII)
_NODE_MARKS = (_ID_CHARACTERS - 3, _ID_CHARACTERS - 2)
_CURSOR = re.compile(r"([0-9]{1,10})-([0-9]{1,10})", re.ASCII)


def new_id() -> str:
    """Return a fresh id: 128 random bits as 32 lowercase hexadecimal digits, unguessable."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Return whether all of `text` has the form that `new_id` returns."""
    return _ID.fullmatch(text) is not None


def new_generation(node: str = "") -> str:
    """Return a fresh id of a generation: as long as any id, with the name of its node after an `n`, if it has one.

    Example: `9f86d081884c7d659a2feaa0c55ad0nb` is on the node `b`. At least 116 of its bits are random.
    """
    return new_id()[: _ID_CHARACTERS - 1 - len(node)] + f"n{node}" if node else new_id()


def is_generation(text: str) -> bool:
    """Return whether all of `text` has the form that `new_generation` returns."""
    return _GENERATION.fullmatch(text) is not None


def node_in(generation: str) -> str:
    """Return the name of the node in a generation's id, "" where it names none."""
    for place in _NODE_MARKS:
        if generation[place : place + 1] == "n":
            return generation[place + 1 :]
    return ""


def bucket_of(generation: str) -> int:
    """Return the bucket, 0 to 63, that holds a generation's keys and its lease."""
    return int(generation[:2], 16) % BUCKETS


def split_members(members: Sequence[bytes], bucket: int) -> tuple[list[str], list[bytes]]:
    """Return the generations among the members of one bucket's set, and the members that are no id of this bucket."""
    generations: list[str] = []
    junk: list[bytes] = []
    for member in members:
        text = member.decode("ascii", "replace")
        if is_generation(text) and bucket_of(text) == bucket:
            generations.append(text)
        else:
            junk.append(member)
    return generations, junk


class Cursor(NamedTuple):
    """A position in a log: the id of an event. Cursors are ordered by the pair (epoch, seq), never by seq alone.

    Example: a worker with epoch 7 writes 7-1, 7-2, 7-3; the one that takes over has epoch 9 and writes 9-4, 9-5.
    """

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


START = Cursor(0, 0)


def parse_cursor(text: str) -> Cursor | None:
    """Return the cursor that `text` spells, `<epoch>-<seq>` with at most ten digits each, or None."""
    found = _CURSOR.fullmatch(text)
    return Cursor(int(found[1]), int(found[2])) if found else None


def cursor_of(raw: bytes) -> Cursor:
    """Return the cursor in a reply of Redis, `b"<epoch>-<seq>"`."""
    epoch, _, seq = raw.partition(b"-")
    return Cursor(int(epoch), int(seq))
