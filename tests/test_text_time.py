"""Every function that runs on the texts of users and models takes time linear in their length, whatever they contain.

A process serves many users in one thread: a function that takes a second for one text delays all of them. The times are
of the thread's CPU, and of several runs the shortest counts, so that a busy machine does not matter.
"""

import ast
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from millrace.webapp.facades.dialect import AppendOnlyText
from millrace.webapp.facades.stream import check_number
from millrace.webapp.generation.responses import check_cursor
from millrace.webapp.problems import Problem
from millrace.worker.after.turn import excerpt
from millrace.worker.context.budget import estimate_tokens, fit_history, fit_materials, truncate
from millrace.worker.context.escaping import element, render_material, render_materials, sanitize
from millrace.worker.context.search.engine import (
    MAX_TEXT_CHARS,
    SearchResult,
    clean_results,
    is_web_address,
    to_plain,
)
from millrace.worker.context.search.rule import is_worth_searching
from millrace.worker.context.search.source import build_query
from millrace.worker.context.source import Material
from millrace.worker.contract.events import Chunk, Citation, Snapshot
from millrace.worker.contract.feed import parse_position
from millrace.worker.contract.ids import is_generation, is_id, parse_cursor
from millrace.worker.contract.profile import Profile
from millrace.worker.contract.request import PromptMessage
from millrace.worker.contract.response_format import fits
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.mapping import EventMapper
from millrace.worker.providers.chunking import cut_into_chunks
from millrace.worker.providers.openai.chat import parse_arguments
from millrace.worker.publishing.batching import Batcher, utf8_size
from millrace.worker.store.chat_terms import chat_terms, excerpt_of, query_groups
from millrace.worker.store.pagination import decode_cursor
from millrace.worker.store.search_terms import (
    fact_digest,
    index_terms,
    owner_word,
    runs,
    search_terms,
    without_prefixes,
    words_of,
)
from millrace.worker.text.characters import (
    clean_line,
    has_visible,
    join_surrogates,
    limit_marks,
    replace_surrogates,
    shorten,
)
from millrace.worker.text.lines import parse_json, to_line, to_title
from millrace.worker.text.replies import text_in, texts_in
from tests.sources import ROOT, parse

MESSAGE_CHARS = 32_000
"""The longest message by default. A function whose callers give it less is measured with as much as they give it."""
PAGE_CHARS = 4 * MAX_TEXT_CHARS  # of a search result, before its markup is removed
REPLY_CHARS = 20_000  # of the small model
PROFILE_CHARS = 8000
QUERY_CHARS = 200  # of the search of conversations
BLOCK_CHARS = 3000  # of a message that is indexed, between two pauses
GOAL_SECONDS = 0.005
MAX_SECONDS = 0.025  # the goal, with room for a machine that is slow
SHORTER = 4
MAX_GROWTH = 6.0  # for a text four times as long; a quadratic function has 16
UNCOMPARED_SECONDS = 0.003  # a function that is faster than this at full length is not compared with a shorter text
RUNS = 2
LAW = ("worker/text", "worker/context", "worker/publishing/batching.py", "worker/store/search_terms.py")
"""Where each public function that takes a text must be measured; elsewhere, each whose parameter is named `text`."""

PIECES = [
    *("\u0301\u0323", "\uff9e\u0323", "\u0f73\u0f71", "\u3099\u0301", "e\u0301\u0323", "\ufdfa", "“", "„“", "`"),
    *("```json\n", "#", "###### ", "**", '"', "'", "«»", "[", "{", "(", "([{", '{"a":', "[[1],", "」", "\\", "\\u"),
    *("a", "İ", "я", "ب", "क्", "กำ", "漢", "가", "\u1100\u1161", "a ", "a. ", "\ud800", "\ud83d\ude00", "\udc00\ud800"),
    *("😀", "👨\u200d", "🇫", "❤️", "1", "9 ", "-", " ", "\n", "\n\t \n", "\u2028", "\u200b", "<", "<a ", "</a"),
    *("<think>", "&", "&#1", "&amp;", "Title: ", "https://", "/", ".", "? ", "_", "I ", "who is ", "did a "),
    *("how much is ", "can you ", "search ", "now ", "what A"),
]
"""A text consists of one of these, repeated, bare or in a wrapping."""
WRAPPINGS = (('["', '"]'), ("```", "```"), ("who is X ", "?"))
WRAPPED = ("\u0301\u0323", "“", "`", "[", '\\"', "a", " ", "1", "<a ", "😀")


def texts(chars: int) -> Iterator[tuple[str, str]]:
    """Yield adversarial texts of this length, each with a name."""
    for piece in PIECES:
        yield f"{piece!a}", (piece * (chars // len(piece) + 1))[:chars]
    for opening, closing in WRAPPINGS:
        for piece in WRAPPED:
            inside = (piece * (chars // len(piece) + 1))[: chars - len(opening) - len(closing)]
            yield f"{opening}{piece!a}{closing}", f"{opening}{inside}{closing}"
    for opening, closing in ("[]", "()", "“”"):
        yield f"nested {opening}{closing}", opening * (chars // 2) + closing * (chars // 2)
    yield "nested objects", '{"a":' * (chars // 6) + "1" + "}" * (chars // 6)
    yield "distinct words", " ".join(f"Aé{number}" for number in range(chars // 8))


def or_rejected(function: Callable[[str], object]) -> Callable[[str], object]:
    """Return the function, which may reject a text."""

    def call(text: str) -> None:
        with suppress(ValueError, GenerationFailed, Problem):
            function(text)

    return call


def split(text: str, chars: int) -> list[str]:
    """Cut a text into parts, such as deltas."""
    return [text[at : at + chars] for at in range(0, len(text), chars)]


def append_after_a_restart(text: str) -> None:
    current = AppendOnlyText()
    current.add(Chunk(text))
    current.add(Snapshot("", "", [], [], reason="takeover"))
    for piece in split(f"{text[:-1]}x{text}", 64):
        current.add(Chunk(piece))
        assert isinstance(current.is_contradicted, bool)


def batch(text: str) -> None:
    batcher = Batcher(1024)
    for piece in split(text, 64):
        batcher.add(Chunk(piece))
    batcher.add(Citation(text, text))
    batcher.finish()


def map_tool_result(text: str) -> None:
    mapper = EventMapper()
    start = {"toolResult": {"toolUseId": "1"}}
    mapper.map({"contentBlockStart": {"contentBlockIndex": 0, "start": start}})
    for piece in split(text, 128):
        mapper.map({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"toolResult": [{"text": piece}]}}})
    mapper.map({"contentBlockStop": {"contentBlockIndex": 0}})


class Measured(NamedTuple):
    """How much text a function is given, and how to call it."""

    chars: int
    call: Callable[[str], object]


MEASURED: dict[Callable[..., object], Measured] = {
    replace_surrogates: Measured(MESSAGE_CHARS, replace_surrogates),
    join_surrogates: Measured(MESSAGE_CHARS, join_surrogates),
    limit_marks: Measured(MESSAGE_CHARS, limit_marks),
    cut_into_chunks: Measured(MESSAGE_CHARS, lambda text: [*cut_into_chunks(text)]),
    fits: Measured(MESSAGE_CHARS, lambda text: fits(json.dumps([text]), {"type": "array"})),
    parse_arguments: Measured(REPLY_CHARS, or_rejected(lambda text: parse_arguments(json.dumps({"a": text})))),
    clean_line: Measured(PAGE_CHARS, clean_line),
    has_visible: Measured(MESSAGE_CHARS, has_visible),
    shorten: Measured(PAGE_CHARS, lambda text: (shorten(text, 80), shorten(text, MAX_TEXT_CHARS))),
    to_line: Measured(MESSAGE_CHARS, lambda text: to_line(text, 300)),
    to_title: Measured(MESSAGE_CHARS, lambda text: to_title(text, 80)),
    parse_json: Measured(MESSAGE_CHARS, parse_json),
    text_in: Measured(REPLY_CHARS, or_rejected(lambda text: text_in({"name": text}, "name"))),
    texts_in: Measured(REPLY_CHARS, or_rejected(lambda text: texts_in({"name": text}, "name"))),
    words_of: Measured(MESSAGE_CHARS, words_of),
    index_terms: Measured(MESSAGE_CHARS, index_terms),
    search_terms: Measured(MESSAGE_CHARS, search_terms),
    runs: Measured(MESSAGE_CHARS, runs),
    without_prefixes: Measured(MESSAGE_CHARS, without_prefixes),
    chat_terms: Measured(BLOCK_CHARS, lambda text: [*chat_terms("ada", text)]),
    query_groups: Measured(QUERY_CHARS, query_groups),
    excerpt_of: Measured(MESSAGE_CHARS, lambda text: excerpt_of(text, text[-QUERY_CHARS:])),
    fact_digest: Measured(MESSAGE_CHARS, fact_digest),
    owner_word: Measured(MESSAGE_CHARS, owner_word),
    estimate_tokens: Measured(MESSAGE_CHARS, estimate_tokens),
    fit_history: Measured(
        MESSAGE_CHARS,
        lambda text: fit_history([PromptMessage("user", each) for each in split(text, 1000)], len(text) // 4),
    ),
    fit_materials: Measured(
        MESSAGE_CHARS, lambda text: fit_materials([Material("a", each) for each in split(text, 4000)], 900)
    ),
    truncate: Measured(MESSAGE_CHARS, lambda text: truncate(text, 600)),
    sanitize: Measured(PROFILE_CHARS, sanitize),
    element: Measured(PROFILE_CHARS, lambda text: element("a", text, {"title": text[:200]})),
    render_material: Measured(PROFILE_CHARS, lambda text: render_material(Material("a", text, text[:200]))),
    render_materials: Measured(PROFILE_CHARS, lambda text: render_materials([Material("a", text)])),
    is_worth_searching: Measured(
        MESSAGE_CHARS, lambda text: (is_worth_searching(text), is_worth_searching(text[:600]))
    ),
    build_query: Measured(MESSAGE_CHARS, build_query),
    to_plain: Measured(MESSAGE_CHARS, lambda text: to_plain(text, MAX_TEXT_CHARS)),
    clean_results: Measured(MESSAGE_CHARS, lambda text: clean_results([SearchResult(text, "https://a.b/", text)], 5)),
    is_web_address: Measured(
        MESSAGE_CHARS, lambda text: (is_web_address(text), is_web_address(f"https://{text[:1000]}"))
    ),
    excerpt: Measured(MESSAGE_CHARS, excerpt),
    utf8_size: Measured(MESSAGE_CHARS, utf8_size),
    Batcher: Measured(MESSAGE_CHARS, batch),
    AppendOnlyText: Measured(MESSAGE_CHARS, append_after_a_restart),
    EventMapper: Measured(MESSAGE_CHARS, map_tool_result),
    Profile: Measured(PROFILE_CHARS, lambda text: Profile(text=text, facts={"a": text}).as_text()),
    is_id: Measured(MESSAGE_CHARS, is_id),
    is_generation: Measured(MESSAGE_CHARS, is_generation),
    parse_cursor: Measured(MESSAGE_CHARS, parse_cursor),
    parse_position: Measured(MESSAGE_CHARS, parse_position),
    decode_cursor: Measured(MESSAGE_CHARS, or_rejected(decode_cursor)),
    check_cursor: Measured(MESSAGE_CHARS, or_rejected(check_cursor)),
    check_number: Measured(MESSAGE_CHARS, or_rejected(check_number)),
}
"""Each function that takes a text of a user or a model."""


def seconds(function: Callable[[str], object], text: str, runs: int) -> float:
    """Return the shortest time of several runs."""
    shortest = float("inf")
    for _ in range(runs):
        began = time.thread_time()
        function(text)
        shortest = min(shortest, time.thread_time() - began)
    return shortest


def test_time_is_linear_in_the_length_of_any_text() -> None:
    made = {chars: dict(texts(chars)) for size, _ in MEASURED.values() for chars in (size, size // SHORTER)}
    wrong: list[str] = []
    for function, (chars, call) in MEASURED.items():
        slowest = 0.0, ""
        for kind, text in made[chars].items():
            taken, growth = seconds(call, text, 1), 0.0
            for times in (RUNS, 10 * RUNS):  # often where it looks bad: the processor's caches are everyone's
                if taken > UNCOMPARED_SECONDS and (times == RUNS or taken > MAX_SECONDS or growth > MAX_GROWTH):
                    taken = min(taken, seconds(call, text, times))
                    growth = taken / seconds(call, made[chars // SHORTER][kind], times)
            if taken > MAX_SECONDS or (growth > MAX_GROWTH and taken > UNCOMPARED_SECONDS):
                wrong.append(f"{function.__name__}: {taken * 1000:.1f} ms, growth {growth:.1f}, for {kind}")
            slowest = max(slowest, (taken, kind))
        is_over = " (over the goal)" if slowest[0] > GOAL_SECONDS else ""
        print(f"{function.__name__}: {slowest[0] * 1000:.2f} ms at most, for {slowest[1]}{is_over}")
    assert not wrong, "\n".join(wrong)


def test_every_function_that_takes_a_text_is_measured() -> None:
    names = {function.__name__ for function in MEASURED}
    missing: list[str] = []
    for path in sorted(path for tier in ("webapp", "worker") for path in (ROOT / tier).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        for node in parse(path).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in names:
                taken = [
                    each.arg for each in node.args.args if each.annotation and ast.unparse(each.annotation) == "str"
                ]
                if "text" in taken or (taken and place.startswith(LAW)):
                    missing.append(f"{place}: {node.name}({', '.join(taken)})")
    assert not missing, "\n".join(missing)
