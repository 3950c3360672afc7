"""The glossary has every room of the code, and each of its terms is used there."""

import re

from tests.docs.pages import ROOT, read

GLOSSARY = ROOT / ".github/GLOSSARY.md"
TIERS = ("webapp", "worker")


def rows(section: str) -> dict[str, str]:
    table = read(GLOSSARY).partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) == len({name for name, *_ in lines}), "a name stands twice"
    return {name.strip("`"): meaning for name, meaning in lines[1:]}


def test_every_room_of_the_code_has_its_line() -> None:
    sources = [path for tier in TIERS for path in (ROOT / tier).rglob("*.py")]
    assert set(rows("Rooms")) == {f"{path.parent.relative_to(ROOT)}/" for path in sources}


def test_every_term_is_used_in_the_code() -> None:
    paths = [path for tier in TIERS for kind in ("*.py", "*.lua") for path in (ROOT / tier).rglob(kind)]
    words = set(re.findall(r"[a-z]+", " ".join(path.read_text("utf-8").lower() for path in paths)))
    terms = rows("Terms")
    assert len(terms) > 30
    assert not [term for term in terms if term not in words and f"{term}s" not in words]
