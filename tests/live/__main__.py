"""The command behind `deploy/test.py --live`: each configured model in four situations, and a table of what happened.

It uses the settings and the credentials of its environment, and makes no call without credentials. A model costs
fractions of a cent for the short answer, and its price for half a minute of text for the long one.
"""

# ruff: noqa: E402 - patched before anything imports ssl, as in the worker

from gevent import monkey

monkey.patch_all()

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

from boto3.session import Session

from deploy.doctor.models import QUESTION, TOKENS
from deploy.doctor.report import hide, secrets_of
from millrace.worker.contract.events import Chunk, Reasoning, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed, SettingError
from millrace.worker.providers.protocol import Prompt, Provider, Stopped
from millrace.worker.providers.registry import FACTORIES
from millrace.worker.settings.catalog import Candidate
from millrace.worker.settings.schema import Settings, load

Result = Literal["ok", "failed", "skipped"]
LONG_QUESTION = "Write a story of at least five thousand words about a mill and its stream. Do not summarise."
LONG_TOKENS = 8000
CANCEL_AT = 20  # deltas
CLOSE_SECONDS = 1.0  # a cancel that takes longer has not closed the connection at once
WIRES = {"bedrock": "ConverseStream", "bedrock-invoke": "InvokeModelWithResponseStream"}
HEADINGS = ("case", "model", "result", "figures")


@dataclass
class Reading:
    """The deltas of one stream, as far as it was read, and how it ended; times in seconds since the call."""

    began: float = field(default_factory=time.monotonic)
    times: list[float] = field(default_factory=list[float])
    characters: int = 0
    stop_reason: str = ""
    usage: Usage | None = None
    close_seconds: float = 0.0

    def read(self, deltas: Iterator[object], is_enough: Callable[["Reading"], bool]) -> None:
        """Read until the end, or until it is enough; then close the stream."""
        for delta in deltas:
            if isinstance(delta, Chunk | Reasoning):
                self.times.append(time.monotonic() - self.began)
                self.characters += len(delta.content)
            elif isinstance(delta, Stopped):
                self.stop_reason = delta.reason
            elif isinstance(delta, Usage):
                self.usage = delta
            if is_enough(self):
                break

    def __str__(self) -> str:
        if not self.times:
            return f"no text; {self._ended}"
        gap = max((later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False)), default=0.0)
        spread = f"{len(self.times)} deltas in {self.times[-1]:.1f} s, longest gap {gap:.2f} s"
        return f"first text {self.times[0]:.2f} s; {spread}; {self._ended}"

    @property
    def _ended(self) -> str:
        if self.usage is None:
            billed = f"no usage reported: at least the {self.characters} characters that came are billed"
        else:
            cached = f", {self.usage.cache_read_tokens} cached" if self.usage.cache_read_tokens else ""
            billed = f"{self.usage.input_tokens}{cached} + {self.usage.output_tokens} tokens"
        return f"{self.stop_reason or 'closed by us'}; {billed}"


def measure_short(provider: Provider, candidate: Candidate) -> tuple[Result, str]:
    """Stream an answer of one word to its end."""
    reading = _read(provider, candidate, QUESTION, TOKENS, lambda _: False)
    return ("ok" if reading.stop_reason and reading.usage else "failed"), str(reading)


def measure_whole(provider: Provider, candidate: Candidate) -> tuple[Result, str]:
    """Have the same answer in one piece."""
    began = time.monotonic()
    whole = provider.answer(_prompt(candidate, QUESTION, TOKENS))
    tokens = f"{whole.usage.input_tokens} + {whole.usage.output_tokens} tokens"
    return "ok", f"{len(whole.text)} characters after {time.monotonic() - began:.2f} s; {tokens}"


def measure_long(provider: Provider, candidate: Candidate, seconds: float) -> tuple[Result, str]:
    """Stream a long answer for so many seconds, or to its end."""
    reading = _read(
        provider, candidate, LONG_QUESTION, LONG_TOKENS, lambda reading: time.monotonic() - reading.began > seconds
    )
    return ("ok" if reading.times else "failed"), str(reading)


def measure_cancel(provider: Provider, candidate: Candidate) -> tuple[Result, str]:
    """Close a long answer after some deltas; nothing more may be read, and the usage is as far as it was seen."""
    reading = _read(provider, candidate, LONG_QUESTION, LONG_TOKENS, lambda reading: len(reading.times) >= CANCEL_AT)
    result: Result = "ok" if reading.close_seconds < CLOSE_SECONDS else "failed"
    return result, f"{reading}; closed within {reading.close_seconds * 1000:.0f} ms"


def _prompt(candidate: Candidate, question: str, tokens: int) -> Prompt:
    return Prompt(candidate.id, (PromptMessage("user", question),), tokens, traits=candidate.traits)


def _read(
    provider: Provider, candidate: Candidate, question: str, tokens: int, is_enough: Callable[[Reading], bool]
) -> Reading:
    reading = Reading()
    deltas = provider.stream(_prompt(candidate, question, tokens))
    try:
        reading.read(deltas, is_enough)
    finally:
        closing_at = time.monotonic()
        deltas.close()
        reading.close_seconds = time.monotonic() - closing_at
    return reading


def obstacle_of(candidate: Candidate) -> str:
    """Return why a candidate can't be asked, empty where it can; the settings have checked the keys of others."""
    if candidate.provider not in FACTORIES:
        return "this version has no such provider"
    if not candidate.provider.startswith("bedrock") or os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        return ""
    if Session().get_credentials() is None:
        return "no AWS credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a bearer token"
    return ""


def measure(settings: Settings, seconds: float) -> Iterator[tuple[str, str, Result, str]]:
    """Yield a row of the table for each case of each candidate of the configured model."""
    for candidate in settings.candidates(settings.default_model):
        model = f"{candidate.provider}/{candidate.id}"
        if obstacle := obstacle_of(candidate):
            yield "all", model, "skipped", obstacle
            continue
        cases: dict[str, Callable[[Provider, Candidate], tuple[Result, str]]] = {
            WIRES.get(candidate.provider, "stream"): measure_short,
            "whole answer": measure_whole,
            f"{seconds:g} s": lambda provider, each: measure_long(provider, each, seconds),
            f"cancel at delta {CANCEL_AT}": measure_cancel,
        }
        with closing(FACTORIES[candidate.provider](settings, 1)) as provider:
            for case, run in cases.items():
                try:
                    result, figures = run(provider, candidate)
                except GenerationFailed as failure:
                    result, figures = "failed", f"{failure.code}: {failure.__cause__ or failure}"
                yield case, model, result, " ".join(figures.split())


def main() -> int:
    """Print the table, row by row; returns 1 if a case has failed, and 0 if all were skipped."""
    parser = argparse.ArgumentParser(prog="deploy/test.py --live", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=30.0, metavar="N", help="length of the long answer (30)")
    flags = parser.parse_args()
    logging.disable(logging.CRITICAL)
    try:
        settings = load()
    except SettingError as error:
        print(f"The live tests can't run: {error}", file=sys.stderr)
        return 1
    secrets = secrets_of(os.environ)
    results: list[Result] = []
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS))
    for case, model, result, figures in measure(settings, flags.seconds):
        results.append(result)
        print(hide(f"| {case} | {model} | {result} | {figures} |", secrets), flush=True)
    print(", ".join(f"{results.count(each)} {each}" for each in ("ok", "failed", "skipped")))
    return int("failed" in results)


if __name__ == "__main__":
    sys.exit(main())
