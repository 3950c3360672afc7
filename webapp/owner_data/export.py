"""The export of one owner: JSON in pieces, so that only one page of messages is in memory at a time.

Its fields are those of the HTTP API. A page is read in one short transaction. The export holds each
message that was stored before it once; a message that is stored while it runs may be missing.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

import msgspec

from millrace.webapp.owner_data.owned_keys import ExportedKey
from millrace.webapp.routes.memories import MemorySchema, render_memory
from millrace.webapp.routes.messages import render_message
from millrace.webapp.schemas import MessageSchema, timestamp
from millrace.worker.contract.profile import Profile, parse_profile
from millrace.worker.store import conversations, memories, messages, profiles
from millrace.worker.store.conversations import ConversationRecord
from millrace.worker.store.database import Database
from millrace.worker.store.pagination import Page

FORMAT = "millrace-export"
VERSION = 1
CONVERSATIONS = 50
MEMORIES = 200
MESSAGES = 10  # an answer may be large

T = TypeVar("T")


def export(database: Database, keys: Sequence[ExportedKey], owner: str) -> Iterator[bytes]:
    """Yield the export in pieces, none where nothing is stored of the owner; raises DatabaseUnavailable."""
    profile = database.read(lambda reader: profiles.find(reader, owner))
    facts, talks = _memories(database, owner), _conversations(database, owner)
    first_fact, first_talk = next(facts, None), next(talks, None)
    if profile is None and not keys and first_fact is None and first_talk is None:
        return
    head: dict[str, object] = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": timestamp(time.time_ns() // 1_000_000),
        "owner": owner,
        "profile": None if profile is None else _profile(parse_profile(profile) or Profile()),
        "api_keys": [msgspec.to_builtins(each) for each in keys],
    }
    yield _open(head, "memories")
    all_facts = facts if first_fact is None else chain([first_fact], facts)
    yield from _items([_encode(msgspec.to_builtins(each))] for each in all_facts)
    yield b', "conversations": '
    all_talks = talks if first_talk is None else chain([first_talk], talks)
    yield from _items(_conversation(database, owner, each) for each in all_talks)
    yield b"}\n"


def _conversation(database: Database, owner: str, record: ConversationRecord) -> Iterator[bytes]:
    times = {"created_at": timestamp(record.created_ms), "updated_at": timestamp(record.updated_ms)}
    yield _open({"id": record.id, "title": record.title, **times, "context": record.context}, "messages")
    yield from _items([_encode(msgspec.to_builtins(each))] for each in _messages(database, owner, record.id))
    yield b"}"


def _conversations(database: Database, owner: str) -> Iterator[ConversationRecord]:
    return _all(
        lambda cursor: database.run(lambda session: conversations.page_by_id(session, owner, cursor, CONVERSATIONS))
    )


def _messages(database: Database, owner: str, conversation: str) -> Iterator[MessageSchema]:
    found = _all(
        lambda cursor: database.run(
            lambda session: messages.page_forward(session, owner, conversation, cursor, MESSAGES)
        )
    )
    return map(render_message, found)


def _memories(database: Database, owner: str) -> Iterator[MemorySchema]:
    found = _all(lambda cursor: database.run(lambda session: memories.page(session, owner, cursor, MEMORIES)))
    return map(render_memory, found)


def _all(read: Callable[[str | None], Page[T]]) -> Iterator[T]:
    """Yield the items of all pages."""
    cursor: str | None = None
    while True:
        page = read(cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def _profile(profile: Profile) -> dict[str, object]:
    return {"assistant_name": profile.assistant_name, "text": profile.text, "facts": profile.facts}


def _open(fields: dict[str, object], last: str) -> bytes:
    """Return an object that lacks the value of its last field, and its end."""
    return _encode(fields)[:-1] + f', "{last}": '.encode()


def _items(items: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Yield a list, one item a line."""
    separator = b"[\n"
    for pieces in items:
        yield separator
        yield from pieces
        separator = b",\n"
    yield b"[]" if separator == b"[\n" else b"\n]"


def _encode(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(value).encode("ascii")
