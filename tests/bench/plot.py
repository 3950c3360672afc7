"""The chart for the README: the cost and the delay of an event, side by side, drawn from the JSON files."""

import json
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.scenario import OURS
from tests.bench.table import figure

_PANELS = (
    ("streams", "CPU µs/event", "CPU a delivered event, µs: 500 streams, a reader each"),
    ("fanout", "CPU µs/event", "CPU a delivered event, µs: 10 streams, 1,000 readers"),
    ("half", "p99 ms", "delay of an event at half the load, p99 in ms"),
)
_WIDTH, _LABELS, _BAR, _GAP, _TITLE, _MARGIN = 860, 210, 18, 7, 34, 16
_OURS_COLOR, _COLOR, _FLOOR_COLOR = "#0a7d5a", "#8a94a6", "#c9ced8"


def draw(directory: Path) -> Path | None:
    """Write `bench.svg` beside the results; None where a scenario that it shows has not been run."""
    paths = [directory / f"{name}.json" for name, _, _ in _PANELS]
    if not all(path.exists() for path in paths):
        return None
    parts: list[str] = []
    top = _MARGIN
    for path, (_, name, title) in zip(paths, _PANELS, strict=True):
        lines = json.loads(path.read_text("utf-8"))["lines"]
        parts.append(_text(_MARGIN, top + 16, title, weight="bold"))
        top += _TITLE
        most = max(line["medians"][name] for line in lines)
        for line in lines:
            parts.append(_bar(line, line["medians"][name], most, top))
            top += _BAR + _GAP
        top += _GAP
    size = f'width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}"'
    style = 'font-family="system-ui, sans-serif" font-size="13"'
    drawing = directory / "bench.svg"
    drawing.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n'
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n",
        "utf-8",
    )
    return drawing


def _bar(line: dict[str, Any], value: float, most: float, top: int) -> str:
    color = {OURS: _OURS_COLOR, "bare send": _FLOOR_COLOR}.get(line["system"], _COLOR)
    length = max(1.0, (_WIDTH - _LABELS - 90) * value / most)
    bar = f'<rect x="{_LABELS}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2" fill="{color}"/>'
    label = _text(_LABELS - 8, top + 14, line["system"], anchor="end")
    return "\n".join((label, bar, _text(_LABELS + length + 6, top + 14, figure(value))))


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="#1c2330">{escape(text)}</text>'
