"""Rows of several rounds folded into one table of medians and ratios."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.bench.scenario import Row, Scenario


@dataclass(frozen=True)
class Line:
    """One contestant in one case: each round's figures, their medians, and the ratio to the one compared against."""

    system: str
    case: str
    rounds: list[dict[str, float]]
    medians: dict[str, float]
    ratio: float | None


def fold(scenario: Scenario, rows: Iterable[Row]) -> list[Line]:
    """Return a line for each contestant and case, in the order of their first rows."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in rows:
        groups.setdefault((row.case, row.system), []).append(row.figures)
    medians = {
        key: {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        for key, rounds in groups.items()
    }
    lines: list[Line] = []
    for (case, system), rounds in groups.items():
        own = medians[case, system]
        base = medians.get((case, scenario.against), {}).get(scenario.compared)
        mine = own.get(scenario.compared)
        lines.append(Line(system, case, rounds, own, mine / base if mine is not None and base else None))
    return lines


def render(scenario: Scenario, lines: Sequence[Line]) -> str:
    """Return the table as text: Markdown, aligned."""
    names = list(dict.fromkeys(name for line in lines for name in line.medians))
    has_cases = any(line.case for line in lines)
    head = [*(["case"] if has_cases else []), "system", *names, f"{scenario.compared} ÷ {scenario.against}'s"]
    body = [
        [
            *([line.case] if has_cases else []),
            line.system,
            *(figure(line.medians.get(name)) for name in names),
            figure(line.ratio),
        ]
        for line in lines
    ]
    widths = [max(len(row[column]) for row in [head, *body]) for column in range(len(head))]
    texts = 2 if has_cases else 1

    def row(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if number < texts else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width) if number < texts else "-" * (width - 1) + ":" for number, width in enumerate(widths)]
    return "\n".join([row(head), row(rule), *map(row, body)])


def figure(value: float | None) -> str:
    """Return a number with about three digits that matter."""
    if value is None or math.isnan(value):
        return "–"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
