"""The generated tables of the documentation are those of the code."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, named, names_in, pages, read, reference

PLACE = re.compile(r"<!-- begin: ([\w-]+) -->\n(.*?)<!-- end: \1 -->", re.DOTALL)
TABLES = {
    "settings": "deploy/docs/settings.md",
    "metrics": "deploy/docs/metrics.md",
    "routes": "webapp/docs/http-api.md",
    "problems": "webapp/docs/http-api.md",
    "events": "webapp/docs/events.md",
    "error-codes": "webapp/docs/events.md",
    "redis-keys": "worker/docs/redis-keys.md",
}


def places() -> dict[str, tuple[Path, str]]:
    return {name: (page, text) for page in pages() for name, text in PLACE.findall(read(page))}


@pytest.mark.parametrize("name", TABLES)
def test_table_in_its_page_is_generated_from_the_code(name: str) -> None:
    page, text = places()[name]
    assert named(page) == TABLES[name]
    assert text == reference()[name]["text"], f"run: python -m tests.docs.reference --write ({named(page)})"


def test_every_generated_table_has_one_place() -> None:
    assert Counter(name for page in pages() for name, _ in PLACE.findall(read(page))) == Counter(list(TABLES))
    assert set(reference()) == set(TABLES)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("settings", 70),
        ("metrics", 14),
        ("routes", 28),
        ("problems", 25),
        ("events", 17),
        ("error-codes", 13),
        ("redis-keys", 17),
    ],
)
def test_each_name_stands_once_in_its_table(name: str, least: int) -> None:
    names = names_in(name)
    assert len(names) >= least
    rows = [line.split("|") for line in reference()[name]["text"].splitlines() if line.startswith("|")]
    columns = [row[1] + row[2] for row in rows]
    for each in set(names):
        expected = 2 if each == "mr:owner:HASH:feed" else 1  # a stream, and a channel of the same name
        assert sum(f"`{each}`" in column for column in columns) == expected, each


def test_settings_table_has_every_variable_that_the_code_reads() -> None:
    source = "".join(path.read_text("utf-8") for tier in ("webapp", "worker") for path in (ROOT / tier).rglob("*.py"))
    assert set(re.findall(r'"(MILLRACE_[A-Z_]+[A-Z])\b', source)) <= set(names_in("settings"))


def test_event_table_has_every_type_that_the_typescript_types_have() -> None:
    types = re.findall(r'^  type: "(\w+)";$', (ROOT / "webapp/static/events.d.ts").read_text("utf-8"), re.MULTILINE)
    assert sorted(types) == sorted(names_in("events"))
