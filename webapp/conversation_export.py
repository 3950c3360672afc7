"""A conversation as a file: JSON with all that is stored of it, or markdown for people; in pieces, page by page."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from millrace.webapp.schemas import MessageSchema, timestamp
from millrace.worker.contract.events import Cancelled, Complete, Error
from millrace.worker.store.conversations import ConversationRecord
from millrace.worker.store.messages import MessageRecord

MAX_NAME_CHARS = 80

_NO_TITLE = "Conversation"
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"*/:<>?\\|]+')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII)  # Windows opens a device instead
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


class ExportedConversation(msgspec.Struct, frozen=True):
    """A conversation with its JSON context."""

    id: str
    title: str | None
    created_at: str
    updated_at: str
    context: dict[str, Any]


class ConversationExport(msgspec.Struct, frozen=True):
    """A conversation with all of its messages, the oldest first."""

    conversation: ExportedConversation
    messages: list[MessageSchema]


def json_pieces(record: ConversationRecord, messages: Iterable[MessageSchema]) -> Iterator[bytes]:
    """Yield a `ConversationExport` as JSON."""
    times = timestamp(record.created_ms), timestamp(record.updated_ms)
    yield b'{"conversation": ' + _encode(ExportedConversation(record.id, record.title, *times, record.context))
    yield b', "messages": ['
    for number, message in enumerate(messages):
        yield (b",\n" if number else b"\n") + _encode(message)
    yield b"\n]}\n"


def markdown_pieces(record: ConversationRecord, messages: Iterable[MessageRecord]) -> Iterator[bytes]:
    """Yield the conversation as markdown: its title, and each question and answer below a heading."""
    yield _utf8(f"# {_one_line(record.title or _NO_TITLE)}\n")
    for message in messages:
        is_question = message.role == "user"
        time = timestamp(message.created_ms)[:16].replace("T", " ")
        notes = [time + " UTC", *([] if is_question or not message.model else [_one_line(message.model)])]
        yield _utf8(f"\n## {'Question' if is_question else 'Answer'}\n\n*{', '.join(notes)}*\n")
        if message.content.strip():
            yield _utf8(f"\n{_closed(message.content.strip(chr(10)))}\n")
        for line in _remarks(message):
            yield _utf8(f"\n{line}\n")


def disposition(title: str | None, extension: str) -> str:
    """Return the Content-Disposition of a download named after the title (RFC 6266, RFC 8187)."""
    name = f"{_file_name(title)}.{extension}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = " ".join(_NOT_IN_NAMES.sub(" ", plain).split())  # a full-width quotation mark has become a quotation mark
    if plain.startswith("."):
        plain = _NO_TITLE + plain
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{encoded}")


def _file_name(title: str | None) -> str:
    """Return a title as a name that no operating system takes for anything else."""
    kept = (each for each in title or "" if unicodedata.category(each) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    name = " ".join(_NOT_IN_NAMES.sub(" ", "".join(kept)).split())[:MAX_NAME_CHARS].strip(" .")
    return _NO_TITLE if not name or _RESERVED.fullmatch(name) else name


def _remarks(message: MessageRecord) -> list[str]:
    outcome, remarks = message.outcome, list[str]()
    match outcome:
        case Cancelled():
            remarks.append("*The answer was stopped here.*")
        case Error():
            remarks.append(f"*The answer failed: {_one_line(outcome.message)}*")
        case Complete() | None:
            pass
    if message.images:
        remarks.append(f"*Images of this answer that are not in this file: {len(message.images)}.*")
    links = [f"- [{_escaped(each.title or each.url)}](<{_address(each.url)}>)" for each in message.sources]
    return [*remarks, *(["Sources:\n\n" + "\n".join(links)] if links else [])]


def _closed(content: str) -> str:
    """Return the text with its code block closed, so that what follows is not part of it."""
    fence = ""
    for line in content.split("\n"):
        found = _FENCE.match(line)
        if found is None:
            continue
        if not fence:
            fence = found[1]
        elif found[1][0] == fence[0] and len(found[1]) >= len(fence) and line.strip() == found[1]:
            fence = ""
    return f"{content}\n{fence}" if fence else content


def _one_line(content: str) -> str:
    return " ".join(content.split())


def _escaped(content: str) -> str:
    return re.sub(r"([\\\[\]<>`*_])", r"\\\1", _one_line(content))


def _address(url: str) -> str:
    return re.sub(r"[\s<>\\]", lambda found: quote(found[0]), url)


def _encode(body: msgspec.Struct) -> bytes:
    return json.dumps(msgspec.to_builtins(body)).encode("ascii")


def _utf8(content: str) -> bytes:
    return content.encode("utf-8", "replace")
