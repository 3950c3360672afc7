"""The pages of the documentation, and what stands in them: prose, code blocks, links, names in backticks."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = (".", ".github", "webapp/docs", "worker/docs", "deploy", "deploy/docs", "deploy/emulator")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A code block: its page, its language, its text."""

    page: Path
    language: str
    code: str


def pages() -> list[Path]:
    """Return every page."""
    return sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))


def named(page: Path) -> str:
    """Return a page's path in the checkout."""
    return str(page.relative_to(ROOT))


def read(page: Path) -> str:
    """Return a page's text."""
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """Return a page's text without its code blocks."""
    return _BLOCK.sub("", read(page))


def blocks(language: str) -> list[Block]:
    """Return every code block of a language."""
    return [
        Block(page, kind, code) for page in pages() for kind, code in _BLOCK.findall(read(page)) if kind == language
    ]


def quoted(page: Path) -> Iterator[str]:
    """Yield what stands in backticks outside code blocks."""
    yield from re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower().replace("`", "")).replace(" ", "-") for title in titles}


@cache
def reference() -> dict[str, dict[str, Any]]:
    """Return the generated tables and the names in them, from a process that imports both tiers."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.docs.reference"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


def names_in(table: str) -> list[str]:
    """Return the names that a generated table has."""
    return list(reference()[table]["names"])
