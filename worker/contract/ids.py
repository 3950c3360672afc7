"""Ids of generations, conversations and messages, and the cursor into a log."""

import re
import secrets
from collections.abc import Sequence
from typing import NamedTuple

BUCKETS = 64

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CURSOR = re.compile(r"([0-9]{1,10})-([0-9]{1,10})", re.ASCII)


def new_id() -> str:
    """Return a fresh id: 128 random bits as 32 lowercase hexadecimal digits, unguessable."""
    return secrets.token_hex(16)


def is_id(text: str) -> bool:
    """Return whether all of `text` has the form that `new_id` returns."""
    return _ID.fullmatch(text) is not None


def bucket_of(generation: str) -> int:
    """Return the bucket, 0 to 63, that holds a generation's keys and its lease."""
    return int(generation[:2], 16) % BUCKETS


def split_members(members: Sequence[bytes], bucket: int) -> tuple[list[str], list[bytes]]:
    """Return the generations among the members of one bucket's set, and the members that are no id of this bucket."""
    generations: list[str] = []
    junk: list[bytes] = []
    for member in members:
        text = member.decode("ascii", "replace")
        if is_id(text) and bucket_of(text) == bucket:
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

    def precedes(self, other: "Cursor") -> bool:
        """Return whether `other` is the next one in the same epoch, so that no event lies between the two."""
        return other.epoch == self.epoch and other.seq == self.seq + 1


START = Cursor(0, 0)


def parse_cursor(text: str) -> Cursor | None:
    """Return the cursor that `text` spells, `<epoch>-<seq>` with at most ten digits each, or None."""
    found = _CURSOR.fullmatch(text)
    return Cursor(int(found[1]), int(found[2])) if found else None


def cursor_of(raw: bytes) -> Cursor:
    """Return the cursor in a reply of Redis, `b"<epoch>-<seq>"`."""
    epoch, _, seq = raw.partition(b"-")
    return Cursor(int(epoch), int(seq))
