"""A scenario: a function that runs every contestant once, in turn, under the same load, and yields the cost of each."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tests.bench

OURS = "Millrace"


@dataclass(frozen=True)
class ScenarioContext:
    """Where a round takes place: a directory of its own, and whether tiny sizes do, because nobody reads the figures.

    `only` names the contestants that are wanted; empty: all.
    """

    directory: Path
    is_quick: bool
    number: int = 1  # of the round
    only: Sequence[str] = ()
    notes: dict[str, str] = field(default_factory=dict[str, str])  # versions and settings, kept with the results

    def wants(self, system: str) -> bool:
        """Tell whether this contestant is to run."""
        return not self.only or system in self.only


@dataclass(frozen=True)
class Row:
    """The result of one contestant in one round: figures by name; each name ends with its unit."""

    system: str
    figures: dict[str, float]
    case: str = ""  # where a scenario has several: "10,000 readers"


Run = Callable[[ScenarioContext], Iterator[Row]]


@dataclass(frozen=True)
class Scenario:
    """A named scenario; `compared` is the figure of which ratios are shown, each to `against` in the same case."""

    name: str
    title: str
    run: Run
    compared: str
    against: str = OURS
    rounds: int = 3


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, title: str, *, compared: str, against: str = OURS, rounds: int = 3) -> Callable[[Run], Run]:
    """Add the decorated function to the scenarios."""

    def add(run: Run) -> Run:
        assert name not in SCENARIOS, f"two scenarios are called {name}"
        SCENARIOS[name] = Scenario(name, title, run, compared, against, rounds)
        return run

    return add


def discover() -> dict[str, Scenario]:
    """Return all scenarios, from every module of this folder."""
    for module in pkgutil.iter_modules(tests.bench.__path__):
        if not module.name.startswith(("_", "test_")):
            importlib.import_module(f"tests.bench.{module.name}")
    return dict(SCENARIOS)
