"""Rules taken out of a copy of the system, so that the soak can show that it would notice."""

import shutil
from pathlib import Path

from tests.faults.rig import ROOT

SABOTAGES: dict[str, list[tuple[str, str, str]]] = {
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
"""By name: file, what stands there, what is put in its place."""


def sabotage(name: str, directory: Path) -> Path:
    """Return the root of a copy of the system in which one rule is missing."""
    root = directory / "sabotaged"
    for part in ("webapp", "worker", "deploy", ".package"):
        shutil.copytree(ROOT / part, root / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", root)
    for path, rule, instead in SABOTAGES[name]:
        source = (root / path).read_text("utf-8")
        assert source.count(rule) == 1, f"{path} has no such rule any more"
        (root / path).write_text(source.replace(rule, instead), "utf-8")
    return root
