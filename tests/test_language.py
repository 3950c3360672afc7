"""The mechanical part of the rules for prose: which words no docstring, comment, test name or page may use."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests import sources
from tests.sources import ROOT, nodes

OPENING = re.compile(r"(?:what|who|whoever|whose|whom|that|those)\b", re.IGNORECASE)
"""Words that no docstring and no test name begins with."""
SENTENCE = re.compile(r"(?:^|(?<=[.:;!?] ))(?:What|Who|Whoever|Whose|Whom)\b[^.?!]*(?:[.!]|$)")
"""A sentence that begins with a relative pronoun used as a noun; a question, which ends in `?`, is allowed."""
PHRASES = (
    *("is told", "are told", "was told", "were told", "been told", "tells of", "told of", "is rung", "rings for"),
    *("heed", "heeds", "hear of", "hears of", "heard of", "farewell", "whoever", "whosever", "thereof", "just now"),
    *("anew", "nobody is known", "its own affair", "one's own", "gone on with", "comes to its end", "come to its end"),
    *("makes rounds", "can't be had", "can be had", "to be had", "arrears", "doorbell", "in the midst of"),
)
BANNED = re.compile(r"\b(?:" + "|".join(map(re.escape, PHRASES)) + r")\b", re.IGNORECASE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMENT = {".lua": re.compile(r"--\s?(.*)"), ".js": re.compile(r"(?:^|\s)//\s?(.*)|/\*(.*?)\*/", re.DOTALL)}


def tracked(*suffixes: str) -> list[Path]:
    paths = [ROOT / name for name in sources.tracked() if name.endswith(suffixes)]
    return [path for path in paths if path.is_file() and path != Path(__file__)]


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    for node in (sources.parse(path), *nodes(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each block of comment lines as one text."""
    block: list[str] = []
    last = first = 0
    if "#" not in (code := path.read_text("utf-8")):
        return
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, text = token.start[0], token.string.lstrip("#: ")
        if block and line != last + 1:
            yield first, " ".join(block)
            block = []
        if not block:
            first = line
        block.append(text)
        last = line
    if block:
        yield first, " ".join(block)


@cache
def prose(path: Path) -> list[tuple[int, str]]:
    """Return the texts of a file that people read, each with its line."""
    return list(_prose(path))


def _prose(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_text("utf-8")
    match path.suffix:
        case ".py":
            yield from docstrings(path)
            yield from comments(path)
        case ".md":
            for number, line in enumerate(FENCE.sub(lambda m: "\n" * m[0].count("\n"), text).splitlines(), 1):
                if not line.startswith("#"):  # a heading may be a noun clause: "What to watch"
                    yield number, line.strip("|*->` ")
        case ".html":
            yield 1, re.sub(r"<[^>]*>", " ", text)
        case _:
            for found in COMMENT[path.suffix].finditer(text):
                yield text.count("\n", 0, found.start()) + 1, next(part for part in found.groups() if part is not None)


def at(path: Path, line: int, text: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {text[:100]}"


def test_no_docstring_begins_with_a_relative_pronoun() -> None:
    wrong = [at(path, *each) for path in tracked(".py") for each in docstrings(path) if OPENING.match(each[1])]
    assert not wrong, "\n".join(["", *wrong])


def test_no_test_name_begins_with_a_relative_pronoun() -> None:
    wrong = [
        at(path, node.lineno, node.name)
        for path in tracked(".py")
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        if OPENING.match(node.name.removeprefix("test_").split("_")[0])
    ]
    assert not wrong, "\n".join(["", *wrong])


def test_no_sentence_uses_a_relative_pronoun_as_its_noun() -> None:
    wrong = [
        at(path, line, found[0])
        for path in tracked(".py", ".md", ".lua", ".js", ".html")
        for line, text in prose(path)
        for found in [SENTENCE.search(" ".join(text.split()))]
        if found
    ]
    assert not wrong, "\n".join(["", *wrong])


def test_no_text_uses_the_private_idiom() -> None:
    wrong = [
        at(path, line, f"{found[0]!r} in {text}")
        for path in tracked(".py", ".md", ".lua", ".js", ".html")
        for line, text in prose(path)
        for found in [BANNED.search(" ".join(text.split()))]
        if found
    ]
    assert not wrong, "\n".join(["", *wrong])
