"""Count what pytest's closing line says."""

import re
from collections import Counter
from dataclasses import dataclass

CLOSING = re.compile(r"^=+ (.*) in [0-9.]+s.*=+$|^((?:\d+ \w+,? ?)+) in [0-9.]+s", re.MULTILINE)
COUNT = re.compile(r"(\d+) (\w+)")
KINDS = {
    "passed": "passed",
    "xpassed": "passed",
    "failed": "failed",
    "error": "failed",
    "errors": "failed",
    "skipped": "skipped",
    "xfailed": "skipped",
}


@dataclass(frozen=True)
class Tally:
    """How many tests went which way; an error in a fixture or at collection counts as failed, xfailed as skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def tally_of(output: str) -> Tally:
    """Return the tally of pytest's last closing line, with or without colours; nothing where there is none."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    closing = [first or second for first, second in CLOSING.findall(plain)]
    counts = Counter[str]()
    for number, kind in COUNT.findall(closing[-1]) if closing else []:
        counts[KINDS.get(kind, "")] += int(number)
    return Tally(counts["passed"], counts["failed"], counts["skipped"])
