"""The file of an exported conversation: its name, and markdown that people can read."""

import re
from typing import Any
from urllib.parse import unquote

import pytest
from werkzeug.http import parse_options_header

from millrace.webapp.conversation_export import disposition, markdown_pieces
from millrace.worker.contract.events import Cancelled, Error, ImageReference, Link, Outcome, Usage
from millrace.worker.store.conversations import ConversationRecord
from millrace.worker.store.messages import MessageRecord
from tests.webapp.harness import COMPLETE

START_MS = 1_700_000_000_000


def markdown(*messages: MessageRecord, title: str | None = "Wheels") -> str:
    record = ConversationRecord("c", "ada", title, {}, START_MS, START_MS)
    return b"".join(markdown_pieces(record, messages)).decode()


def question(content: str) -> MessageRecord:
    return MessageRecord("q", "c", "user", content, START_MS)


def answer(content: str, outcome: Outcome = COMPLETE, **fields: Any) -> MessageRecord:
    return MessageRecord("a", "c", "assistant", content, START_MS, "q", "g", outcome, "a-model", **fields)


def test_markdown_has_each_message_below_a_heading() -> None:
    assert markdown(question("Why?"), answer("Because.\n\n- one")) == (
        "# Wheels\n\n## Question\n\n*2023-11-14 22:13 UTC*\n\nWhy?\n"
        "\n## Answer\n\n*2023-11-14 22:13 UTC, a-model*\n\nBecause.\n\n- one\n"
    )
    assert markdown(title="two\n# lines").splitlines() == ["# two # lines"]
    assert markdown(title=None).splitlines() == ["# Conversation"]
    assert "lone ? surrogate" in markdown(question("lone \ud800 surrogate"))


def test_markdown_says_how_an_answer_ended_and_names_its_sources() -> None:
    assert "*The answer was stopped here.*" in markdown(answer("par", Cancelled("user", Usage())))
    failed = markdown(answer("", Error("internal", "Sorry,\nan error.", retryable=True)))
    assert failed.endswith("\n*The answer failed: Sorry, an error.*\n")
    sources = (Link("A [page]", "https://example.com/a b>c"), Link("", "https://example.com/"))
    images = (ImageReference("i", "png", 9),)
    assert markdown(answer("text", sources=sources, images=images)).endswith(
        "\n*Images of this answer that are not in this file: 1.*\n\nSources:\n\n"
        "- [A \\[page\\]](<https://example.com/a%20b%3Ec>)\n- [https://example.com/](<https://example.com/>)\n"
    )


@pytest.mark.parametrize("content", ["```py\nx = 1", "~~~~\n```\n~~~", "````\n```\n````\n```", "  ```\n``` not an end"])
def test_code_block_that_is_open_does_not_take_in_what_follows(content: str) -> None:
    fence = ""
    for line in markdown(answer(content), question("next")).split("\n"):
        found = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if found and not fence:
            fence = found[1]
        elif found and found[1].startswith(fence) and line.strip() == found[1]:
            fence = ""
        assert not (fence and line.startswith("## ")), line
    assert not fence


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Wheels", "Wheels.md"),
        (None, "Conversation.md"),
        ("", "Conversation.md"),
        ("水車の話", "水車の話.md"),
        ("Größe: 5/6?", "Größe 5 6.md"),
        ('a"; filename="b.exe', "a ; filename= b.exe.md"),
        ("line\r\nSet-Cookie: a=b", "lineSet-Cookie a=b.md"),
        ("../../etc/passwd", "etc passwd.md"),
        ("con", "Conversation.md"),
        ("\u202egpj.exe", "gpj.exe.md"),
        ("\uff02quoted\uff02", "\uff02quoted\uff02.md"),
        ("x" * 300, "x" * 80 + ".md"),
        ("lone \ud800", "lone.md"),
        ("...", "Conversation.md"),
    ],
)
def test_file_is_named_after_the_title(title: str | None, name: str) -> None:
    header = disposition(title, "md")
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    kind, options = parse_options_header(header)
    assert kind == "attachment"
    encoded = re.search(r"filename\*=UTF-8''(\S+)$", header)
    assert (unquote(encoded[1]) if encoded else options["filename"]) == name
    plain = re.search(r'filename="([^"]+\.md)"', header)
    assert plain
    assert not set(plain[1]) & set('"\\/:*?<>|')
