"""Every fault on every wire, and at the router: how an answer ends, and that what came before it stands.

A wire is a line in `wires.py`, a fault one in `fault_grid.py`. `-s` prints the grid.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, get_args

import gevent
import pytest

from deploy.emulator.faults import ErrorFault, TransportFault
from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Prompt, Provider, Started, Stopped
from millrace.worker.providers.question import Answering, Question, Retrying
from millrace.worker.providers.router import Router
from millrace.worker.providers.stop_reason import failure_of
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.catalog import Candidate, ModelTraits
from millrace.worker.settings.schema import Settings
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.fault_grid import EMPTY, GRID, RULED_OUT, TEXT, TRUNCATED, WHOLE
from tests.worker.providers.wires import WIRES, make_provider

DELTAS_BEFORE = (0, 2)
COLUMNS = [*WIRES, "router"]
BEHIND_ROUTER = "openai-chat"
STALL_SECONDS = 5.0

Cell = tuple[str, int, str]
"""A row, the deltas before the fault, and a column."""


def prompt_of(script: Any) -> Prompt:
    return Prompt("a-model", (PromptMessage("user", emulate(**script)),), 1000)


def end_on_wire(provider: Provider, script: Any) -> tuple[str, str]:
    """Return how the answer ends, and its text."""
    text, has_started = "", False
    stopped: Stopped | None = None
    try:
        for delta in provider.stream(prompt_of(script)):
            assert has_started == (not isinstance(delta, Started)), "it starts once, before all else"
            has_started = True
            stopped = delta if isinstance(delta, Stopped) else stopped
            text += delta.content if isinstance(delta, Chunk) else ""
    except ProviderError as failure:
        wait = "" if failure.retry_after is None else f", {failure.retry_after:g} s"
        return failure.code + wait + ", not streamed" * failure.refuses_streaming, text
    if stopped is None:
        return TRUNCATED, text
    failure = failure_of(stopped.reason)
    return (failure.code if failure else WHOLE if text else EMPTY), text


def end_at_router(provider: Provider, script: Any) -> tuple[str, str]:
    """Return how the answer ends with another candidate behind the wire, and its text."""

    def prompts(_candidate: Candidate, _prefill: str) -> Iterator[Prompt]:
        yield prompt_of(script)

    settings = Settings.of(providers=("openai", "bedrock"), breaker_failures=0, tries=1)
    stub = Stub([[Chunk("Next."), Stopped("end_turn")]], "bedrock")
    router = Router(settings, {"openai": provider, "bedrock": stub}, Breaker(settings))
    candidates = [Candidate(name, "a-model", ModelTraits(10_000)) for name in ("openai", "bedrock")]
    text, end = "", TRUNCATED
    try:
        for item in router.stream(Question(candidates, prompts)):
            text += item.content if isinstance(item, Chunk) else ""
            if isinstance(item, Retrying):
                end = f"{item.code}, next"
            elif isinstance(item, Answering) and item.mode == "chunked":
                end = "in chunks"
            elif isinstance(item, Stopped) and end == TRUNCATED:
                failure = failure_of(item.reason)
                end = failure.code if failure else WHOLE if text else EMPTY
    except ProviderError as failure:
        end = failure.code
    return end, text


def text_of(row: str, at: int, column: str, end: str) -> str:
    """Return the text that the answer has in the end."""
    if end.endswith(", next"):
        return "Next."
    if end == "in chunks":
        return TEXT
    return TEXT[:at] + GRID[row].adds(BEHIND_ROUTER if column == "router" else column, at)


def fill(provider: Provider, cells: list[Cell]) -> dict[Cell, tuple[str, str]]:
    """Return the ends and the texts of a column's cells."""
    found: dict[Cell, tuple[str, str]] = {}
    for row, at, column in cells:
        wire, find_end = (BEHIND_ROUTER, end_at_router) if column == "router" else (column, end_on_wire)
        found[row, at, column] = find_end(provider, GRID[row].script(wire, at))
    return found


def print_grid(ends: dict[Cell, str]) -> None:
    """Print the ends, the codes without `provider_`; a line for both places of a fault if they are the same."""
    lines = [["fault", "deltas before", *COLUMNS]]
    for row in GRID:
        before, after = ([ends[row, at, each].replace("provider_", "") for each in COLUMNS] for at in DELTAS_BEFORE)
        lines += [[row, "0, 2", *before]] if before == after else [[row, "0", *before], ["", "2", *after]]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    for line in ([""], *lines):
        print("".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=False)).rstrip())


def test_every_fault_ends_an_answer_with_its_code_and_keeps_the_text_before_it(
    emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    expected = {
        (row, at, column): end
        for row, each in GRID.items()
        for column in COLUMNS
        for at, end in zip(DELTAS_BEFORE, each.ends_of(column), strict=True)
    }
    found = {cell: end for cell, end in expected.items() if end in RULED_OUT}
    texts: dict[Cell, str] = {}
    with ExitStack() as stack:
        jobs: list[Any] = []
        for column in COLUMNS:
            wire = BEHIND_ROUTER if column == "router" else column
            patient, hasty = (make_provider(wire, emulator.url, read_seconds=each) for each in (60, STALL_SECONDS))
            stack.callback(patient.close)
            stack.callback(hasty.close)
            cells = [cell for cell in expected if cell[2] == column and cell not in found]
            stalls = [cell for cell in cells if cell[0].startswith("stall")]
            jobs += [gevent.spawn(fill, hasty, [cell]) for cell in stalls]
            jobs.append(gevent.spawn(fill, patient, [cell for cell in cells if cell not in stalls]))
        for job in jobs:
            for cell, (end, text) in job.get(timeout=120).items():
                found[cell], texts[cell] = end, text
    print_grid(found)
    assert [f"{cell}: {found[cell]}, not {end}" for cell, end in expected.items() if found[cell] != end] == []
    assert {cell: text for cell, text in texts.items() if text != text_of(*cell, found[cell])} == {}


def test_the_grid_has_every_fault_of_the_endpoint_and_leaves_out_only_what_cannot_be() -> None:
    scripted = [row.script("openai-chat", 0).get("fault") for row in GRID.values()]
    assert {*get_args(ErrorFault), *get_args(TransportFault)} <= {each for each in scripted if isinstance(each, str)}
    for row, each in GRID.items():
        for column in COLUMNS:
            before, after = each.ends_of(column)
            assert "" not in (before.strip("- "), after.strip("- ")), (row, column)
            assert before not in RULED_OUT, (row, column)
    ruled_out = [row for row, each in GRID.items() for column in WIRES if each.ends_of(column)[1] in RULED_OUT]
    assert {*ruled_out} == {"stall_headers", "empty answer", "only reasoning"}
