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

EXPORT = re.compile(r"^export (?:[^'\n]|'[^']*')+$", re.MULTILINE)
NOT_RUN = r"\*The tests do not run this block:"
SETTINGS_TEST = "test_settings_in_shell_blocks_are_exported_and_valid"
RUNNERS = {
    "test_curl_commands_of_the_docs_run_as_pasted": r"\$base\b",
    "test_start_commands_of_the_docs_run_as_pasted": r"^python3 deploy/run\.py|\.millrace/logs|-m deploy\.emulator",
    "test_commands_about_users_of_redis_run_as_pasted": r"^python3 deploy/redis_acl\.py",
    "test_commands_of_an_installed_package_run_as_pasted": r"^millrace-",
    "test_commands_of_the_page_about_capacity_run_as_pasted": r"^python3 deploy/capacity\.py",
    "test_backup_commands_of_the_docs_run_as_pasted": r"VACUUM INTO|^pg_dump|^pg_restore",
    "test_commands_of_a_checkout_run_as_pasted": r"^\.venv/bin/",
}
"""The tests that run shell blocks, and how the blocks of each are recognised; each test gets its blocks by `run_by`."""


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


def runner_of(block: Block) -> str:
    """Return the name of the test that runs a shell block, "" where the page says that none does; raises ValueError."""
    if re.search(re.escape(block.code) + "```\n\n" + NOT_RUN + r" .+\.\*$", read(block.page), re.MULTILINE):
        return ""
    found = [test for test, what in RUNNERS.items() if re.search(what, block.code, re.MULTILINE)]
    if not re.sub("#.*", "", EXPORT.sub("", block.code)).strip():
        return SETTINGS_TEST
    if len(found) != 1:
        raise ValueError(f"{named(block.page)}: a shell block is neither run by one test nor marked with {NOT_RUN}")
    return found[0]


def run_by(test: str) -> list[Block]:
    """Return the shell blocks that a test runs."""
    return [block for block in blocks("sh") if runner_of(block) == test]


def commands_of(block: Block) -> list[str]:
    """Return the commands of a shell block, one a line, without its exports and comments."""
    lines = EXPORT.sub("", block.code).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s+)#.*", "", line).strip())]


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
