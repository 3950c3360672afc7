"""The documentation of the page for its users names what the page has."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "webapp/static"
SPELLING = {"Mod": "Ctrl", "Escape": "Esc"}


def test_every_shortcut_is_documented() -> None:
    text = (ROOT / "webapp/docs/page.md").read_text("utf-8").replace("`", "")
    found = re.findall(r"\{ keys: (\[\[.*?\]\]),", (STATIC / "page.js").read_text("utf-8"))
    assert len(found) >= 10
    for keys in found:
        combinations: list[list[str]] = json.loads(keys)
        for combination in combinations:
            assert "+".join(SPELLING.get(key, key) for key in combination) in text, combination
