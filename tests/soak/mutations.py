"""Rules removed from a copy of the system, to show that the soak notices their absence."""

import shutil
from pathlib import Path

from tests.faults.rig import ROOT

MUTATIONS: dict[str, list[tuple[str, str, str]]] = {
    "fence": [
        # The token is compared where a holder writes and where it renews; and the order of the log's ids alone would
        # still keep an old holder out.
        (
            "worker/contract/lua/append.lua",
            "if s[1] ~= token then return { 'fenced', cancel, top } end",
            "if s[1] ~= token then epoch = tonumber(s[2]); seq = select(2, split(top)) + 1 end",
        ),
        ("worker/contract/lua/renew.lua", "if s[1] ~= token or s[8] then", "if s[8] then"),
    ],
    "gap": [
        ("worker/contract/lua/append.lua", "if seq ~= top_seq + 1 then return { 'gap', cancel, top } end", ""),
    ],
    "sweep": [
        ("worker/contract/lua/list_due.lua", "return redis.call(", "do return {} end return redis.call("),
    ],
}
"""By name: the file, the rule's text, and its replacement."""


def apply_mutation(name: str, directory: Path) -> Path:
    """Return the root of a copy of the system in which one rule is missing."""
    root = directory / "mutated"
    for part in ("webapp", "worker", "deploy", ".package"):
        shutil.copytree(ROOT / part, root / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", root)
    for path, rule, instead in MUTATIONS[name]:
        source = (root / path).read_text("utf-8")
        assert source.count(rule) == 1, f"{path} no longer holds this rule"
        (root / path).write_text(source.replace(rule, instead), "utf-8")
    return root
