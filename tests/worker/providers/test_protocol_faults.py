"""Every fault on every wire: how an answer ends, and that what came before it stands. `-s` prints the grid.

A wire is a line in `wires.py`, a fault one below.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest

from deploy.emulator.faults import ErrorFault, TransportFault
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Prompt, Provider, Started, Stopped
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.wires import WIRES, make_provider

WHOLE, TRUNCATED = "whole", "truncated"
UNKNOWN = (None, None)
DELTAS_BEFORE = 2


@dataclass(frozen=True)
class Row:
    """How a fault ends before the first delta and, unless it only strikes there, after some; `but`: other ends.

    An end is the error's code, `whole`, or `truncated`: the stream ends without `Stopped`. A wire may have other ends,
    under its name or the part of it before the first hyphen; `None` stands for a fault that the wire cannot have there.
    """

    before: str
    after: str | None = None
    but: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict[str, tuple[str | None, str | None]])

    def ends(self, wire: str) -> tuple[str | None, str | None]:
        family = self.but.get(wire.partition("-")[0], (self.before, self.after))
        return self.but.get(wire, family)


def _same(code: str, **but: tuple[str | None, str | None]) -> Row:
    return Row(code, code, {name.replace("_", "-"): ends for name, ends in but.items()})


_UNAVAILABLE, _REJECTED, _TOO_LONG = "provider_unavailable", "provider_rejected", "context_too_long"
_SIGN_IN, _THROTTLED, _LATE = "provider_authentication", "provider_throttled", "provider_timeout"

# Within a stream, the upstream service's errors have no code: only the words of a prompt that is too long tell more.
GRID: dict[str, Row] = {
    "throttle": _same(_THROTTLED, rlm=(_THROTTLED, _UNAVAILABLE)),
    "validation": _same(_REJECTED, rlm=(_REJECTED, _UNAVAILABLE)),
    "unavailable": _same(_UNAVAILABLE),
    "stream_error": _same(_UNAVAILABLE),
    "server_error": _same(_UNAVAILABLE),
    "authentication": _same(_SIGN_IN, rlm=(_SIGN_IN, _UNAVAILABLE), bedrock=(_SIGN_IN, None)),
    "expired": _same(_SIGN_IN, rlm=(_SIGN_IN, _UNAVAILABLE), bedrock=(_SIGN_IN, None)),
    # At Bedrock a limit, and not money.
    "quota": _same(_SIGN_IN, rlm=(_SIGN_IN, _UNAVAILABLE), bedrock=(_THROTTLED, None)),
    "no_model": _same(_REJECTED, rlm=(_REJECTED, _UNAVAILABLE), bedrock=(_REJECTED, None)),
    "no_streaming": Row(_REJECTED),
    "blocked_prompt": Row(
        "content_filtered",
        but={"anthropic": UNKNOWN, "bedrock": UNKNOWN, "bedrock-invoke": UNKNOWN, "gemini": UNKNOWN, "rlm": UNKNOWN},
    ),
    "input_too_long": _same(_TOO_LONG),
    "prompt_too_long": _same(_TOO_LONG),
    "over_context_limit": _same(_TOO_LONG),
    "too_many_tokens": _same(_TOO_LONG),
    "too_many_bytes": _same(_TOO_LONG),
    "too_large": Row(_TOO_LONG),
    "stall": _same(_LATE),
    "stall_headers": Row(_LATE),
    "disconnect": _same(_UNAVAILABLE),
    "no_stop": _same(TRUNCATED, rlm=(_REJECTED, WHOLE)),  # the proper end of its response is enough
    # The last event of OpenAI's responses has the stop reason; Gemini's streams have no mark behind it.
    "no_end": _same(WHOLE, openai_responses=(TRUNCATED, TRUNCATED), gemini=UNKNOWN),
    "corrupt": _same(_REJECTED, bedrock=(_UNAVAILABLE, _UNAVAILABLE)),  # only its messages have a checksum
    "malformed_json": _same(_REJECTED),
    "html": Row(_UNAVAILABLE),
    "proxy_error": Row(_UNAVAILABLE),
}


def end_of(provider: Provider, **script: Any) -> tuple[str, str, ProviderError | None]:
    """Return how the answer ends, its text, and the error, if it has one."""
    texts: list[str] = []
    has_stopped = has_started = False
    failure: ProviderError | None = None
    prompt = Prompt("a-model", (PromptMessage("user", emulate(text="0123456789", tokens=10, **script)),), 1000)
    try:
        for delta in provider.stream(prompt):
            assert has_started == (not isinstance(delta, Started)), "it starts once, before all else"
            has_started = True
            has_stopped = has_stopped or isinstance(delta, Stopped)
            texts += [delta.content] if isinstance(delta, Chunk) else []
    except ProviderError as error:
        failure = error
    return (failure.code if failure else WHOLE if has_stopped else TRUNCATED), "".join(texts), failure


@pytest.mark.parametrize("wire", WIRES)
def test_every_fault_ends_an_answer_with_its_code_and_keeps_the_text_before_it(
    wire: str, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    provider = make_provider(wire, emulator.url, read_seconds=1)
    found: dict[str, tuple[str | None, str | None]] = {}
    for fault, row in GRID.items():
        before, after = row.ends(wire)
        ends: list[str | None] = []
        for at, expected in ((0, before), (DELTAS_BEFORE, after)):
            if expected is None:
                ends.append(None)
                continue
            end, text, failure = end_of(provider, fault=fault, at=at)
            ends.append(end)
            if end == expected:
                assert text == ("0123456789" if fault == "no_end" else "0123456789"[:at]), (fault, at)
                assert not failure or failure.refuses_streaming == (fault == "no_streaming"), fault
        found[fault] = (ends[0], ends[1])
        print(f"{wire:18} {fault:20} {ends[0] or '-':24} {ends[1] or '-'}")
    provider.close()
    assert found == {fault: row.ends(wire) for fault, row in GRID.items()}


def test_the_grid_has_every_fault_of_the_endpoint_and_no_wire_leaves_out_many() -> None:
    assert {*GRID} == {*get_args(ErrorFault), *get_args(TransportFault)}
    for wire in WIRES:
        assert sum(row.ends(wire)[0] is not None for row in GRID.values()) >= 20, wire
