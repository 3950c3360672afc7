"""The bytes sent in every scenario, and how both sides of the load recognise them.

Each event's JSON has one mark, a character that occurs nowhere else, followed by the time when the event was due. So
a reader counts events by counting marks, wherever the bytes are split, and knows the delay of each.
"""

import re
from collections.abc import Sequence
from pathlib import Path

MARK = b"^"  # not the ~ that precedes the length of most WebSocket messages
STAMP_DIGITS = 16  # microseconds of the monotonic clock, which all processes share
EVENT = '{{"type":"chunk","content":"^{stamp:016d} and twenty letters"}}'
_LETTERS = 20
_PROSE = re.sub(r"[^A-Za-z0-9 .,:;()]+", " ", (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8"))
FRAME = "id: 1-{seq}\ndata: " + EVENT + "\n\n"
TICK_SECONDS = 0.001  # events that fall due within the same tick are published together


def event(stamp: int) -> bytes:
    """Return an event's JSON: 64 bytes, as of two or three words, which differ from one event to the next."""
    begin = stamp // 1000 * _LETTERS % (len(_PROSE) - _LETTERS)
    return b'{"type":"chunk","content":"^%016d %b"}' % (stamp, _PROSE[begin : begin + _LETTERS].encode("ascii"))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of the ordered ones lies; not a number where there are none."""
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))]) if ordered else float("nan")
