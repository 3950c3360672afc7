"""`python -m tests.bench [NAME ...]`: run scenarios, print a table for each, keep the figures as JSON."""

import argparse
import dataclasses
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.plot import draw
from tests.bench.results import RESULTS, machine, save
from tests.bench.scenario import Row, Scenario, ScenarioContext, discover
from tests.bench.table import fold, render
from tests.faults.rig import Rig

DESCRIPTORS = 65_536


def main() -> int:
    """Run what the arguments name, by default everything."""
    scenarios = discover()
    options = _options(sorted(scenarios))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is to be ended
    _raise_limits()
    Rig.is_forked = options.quick  # measured processes own all their memory
    print("  ".join(f"{name} {value}" for name, value in machine().items()), flush=True)
    begun = time.monotonic()
    for name in options.names or scenarios:
        _run(scenarios[name], options)
    if drawing := draw(options.out):
        print(f"drawn: {drawing}")
    print(f"took {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def _options(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Millrace beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs (a scenario says: mostly 3)")
    parser.add_argument("--only", action="append", default=[], metavar="SYSTEM", help="run these contestants alone")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round: shows that it runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    return options


def _raise_limits() -> None:
    """Allow as many descriptors as may be: thousands of readers on either side of a socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(DESCRIPTORS, hard), max(DESCRIPTORS, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(scenario: Scenario, options: argparse.Namespace) -> None:
    rounds = options.rounds or (1 if options.quick else scenario.rounds)
    print(f"\n## {scenario.name}: {scenario.title} ({rounds} rounds)", flush=True)
    rows: list[Row] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory:
        ground = ScenarioContext(Path(directory), options.quick, only=tuple(options.only))
        for number in range(1, rounds + 1):
            place = Path(directory) / str(number)
            place.mkdir()
            for row in scenario.run(dataclasses.replace(ground, directory=place, number=number)):
                rows.append(row)
                shown = "  ".join(f"{name} {value:.3g}" for name, value in row.figures.items())
                print(f"  {number}: {' '.join(filter(None, (row.system, row.case)))}: {shown}", flush=True)
    lines = fold(scenario, rows)
    for name, note in ground.notes.items():
        print(f"  {name}: {note}")
    print(render(scenario, lines))
    path = save(options.out, scenario, lines, ground, rounds)
    print(f"{path}, {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
