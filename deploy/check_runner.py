"""Run shards of tests and static checks side by side, and give each failed test a second run of its own.

A test that waits for real processes may fail when the machine stands still for a while. Such a test is run once more,
alone, after everything else has ended. If it passes then, it counts as passed and is printed as FLAKY with both
outputs. More than `MAX_FLAKY` of them fail the run, because an unreliable test has to be repaired, not tolerated.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.environment import PrintLine
from deploy.result_log import OPTION, PLUGIN, ResultLog, Tally, read

MAX_FLAKY = 3
MAX_RERUNS = 10  # more failures than these probably have one cause, and running each test again would only take time
AT_ONCE = 8  # shards, most of which wait: enough to keep two processors busy, and no more than their time limits bear
NICENESS = 10  # the static checks leave the processors to the tests, some of which are about time
PROGRESS_SECONDS = 30.0
POLL_SECONDS = 0.1
END_SECONDS = 15.0  # for pytest to stop everything that its tests have started
LIMIT_SECONDS = 2700.0  # over three times what the slowest shard takes on two processors


@dataclass(frozen=True)
class Checks:
    """Commands that run one after another, each of which must succeed."""

    name: str
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Shard:
    """Tests that run in one pytest process; `pytest` is its command with all options and without paths."""

    name: str
    pytest: tuple[str, ...]
    paths: tuple[str, ...]


class RunningCommands:
    """Commands that run one after another in the background; their output goes into one file."""

    def __init__(self, commands: Sequence[Sequence[str]], output: Path, root: Path, niceness: int = 0) -> None:
        self.exit_codes: list[int] = []
        self.is_timed_out = False
        self.processor_seconds = 0.0
        self._output = output
        self._root = root
        self._niceness = niceness
        self._waiting = list(commands)
        self._deadline = time.monotonic() + LIMIT_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._start_next()

    @property
    def has_succeeded(self) -> bool:
        """True where every command has ended with 0."""
        return not any(self.exit_codes) and not self.is_timed_out

    def poll(self) -> bool:
        """Start the next command when one has ended; returns whether all have."""
        if self._process and time.monotonic() > self._deadline:
            self.is_timed_out = True
            self.stop()
        elif self._process:
            before = _processor_seconds_of_ended()
            if (code := self._process.poll()) is not None:
                self.processor_seconds += _processor_seconds_of_ended() - before
                self.exit_codes.append(code)
                self._start_next()
        return self._process is None

    def stop(self) -> None:
        """End the command that runs; the others are not started."""
        if self._process:
            self._process.send_signal(signal.SIGINT)  # on SIGTERM pytest would not run its fixtures' ends
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def text(self) -> str:
        """Return the output so far."""
        return self._output.read_text("utf-8", "replace")

    def _start_next(self) -> None:
        self._process = None
        if self._waiting:
            with self._output.open("ab") as output:
                self._process = subprocess.Popen(
                    self._waiting.pop(0),
                    cwd=self._root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # the terminal's Ctrl-C reaches it once, through `stop`
                )
            if self._niceness:
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)


class RunningShard(RunningCommands):
    """A shard's pytest process and the file of its results."""

    def __init__(self, shard: Shard, arguments: Sequence[str], directory: Path, root: Path) -> None:
        self.shard = shard
        self._results = directory / "results"
        directory.mkdir()
        command = (*shard.pytest, "-p", PLUGIN, OPTION, str(self._results), *arguments)
        super().__init__([command], directory / "output", root)

    def results(self) -> ResultLog:
        """Return the results so far."""
        return read(self._results)

    @property
    def has_proper_results(self) -> bool:
        """True where pytest ran all tests to its end and said so, whatever their outcome."""
        log = self.results()
        return log.is_complete and self.exit_codes == [log.exit_code]


def run_all(shards: Sequence[Shard], checks: Sequence[Checks], root: Path, print_line: PrintLine) -> int:
    """Run the checks and, at most `AT_ONCE` of them, the shards side by side; returns the exit code.

    The shards start in their order. Each part's output is printed when it ends. The last line is the tally of all
    tests; a flaky test counts as passed.
    """
    with TemporaryDirectory() as name:
        directory = Path(name)
        started: dict[str, RunningCommands] = {
            each.name: RunningCommands(each.commands, directory / f"checks{number}", root, NICENESS)
            for number, each in enumerate(checks)
        }
        waiting = [(each, directory / str(number)) for number, each in enumerate(shards)]
        print_line("running side by side: " + ", ".join([*(each.name for each in shards), *started]))
        try:
            _run_to_the_end(started, waiting, root, print_line)
        finally:
            for each in started.values():
                each.stop()
        reasons = [reason for name, each in started.items() if (reason := _reason(name, each))]
        ended = [each for each in started.values() if isinstance(each, RunningShard)]
        reruns = Reruns(ended, directory, root, print_line)
    reasons += [f"{node_id} (failed twice)" for node_id in reruns.failed_twice]
    if len(reruns.flaky) > MAX_FLAKY:
        reasons.append(f"{len(reruns.flaky)} flaky tests, more than {MAX_FLAKY}")
    print_line(f"flaky: {len(reruns.flaky)}")
    if reasons:
        print_line("FAILED: " + ", ".join(reasons))
    print_line(str(reruns.tally))
    return 1 if reasons or reruns.tally.failed else 0


class Reruns:
    """The second runs of all tests that failed, and the tally of the whole run after them.

    A shard without proper results fails the run anyway: its tests are not run again.
    """

    def __init__(self, ended: Sequence[RunningShard], directory: Path, root: Path, print_line: PrintLine) -> None:
        self.flaky: list[str] = []
        self.failed_twice: list[str] = []
        self.tally = sum((each.results().tally() for each in ended), Tally())
        self._directory = directory
        self._root = root
        self._print_line = print_line
        failures = [
            (each.shard, each.results(), node_id)
            for each in ended
            if each.has_proper_results
            for node_id in each.results().failures()
        ]
        if len(failures) > MAX_RERUNS:
            print_line(f"{len(failures)} tests failed; none is run again, because they are more than {MAX_RERUNS}")
            return
        for shard, log, node_id in failures:
            self._rerun(shard, log, node_id)

    def _rerun(self, shard: Shard, log: ResultLog, node_id: str) -> None:
        self._print_line(f"running again, alone: {node_id}")
        place = self._directory / f"rerun{len(self.flaky) + len(self.failed_twice)}"
        rerun = RunningShard(shard, ("-rA", node_id), place, self._root)
        try:
            while not rerun.poll():
                time.sleep(POLL_SECONDS)
        finally:
            rerun.stop()
        if rerun.has_proper_results and rerun.results().has_passed(node_id):
            self.flaky.append(node_id)
            self.tally = self.tally - log.tally([node_id]) + rerun.results().tally([node_id])
            title, outcome = "FLAKY", "passed"
        else:
            self.failed_twice.append(node_id)
            title, outcome = "FAILED TWICE", "did not pass"
        self._print_line(f"{title}: {node_id}")
        self._print_line(f"--- failed in {shard.name}:\n{log.failures()[node_id].rstrip()}")
        self._print_line(f"--- {outcome} alone:\n{rerun.text().rstrip()}\n")


def _reason(name: str, ended: RunningCommands) -> str:
    """Return why a part fails the run, apart from single failed tests; "" where it does not."""
    if ended.is_timed_out:
        return f"{name} (stopped after {LIMIT_SECONDS:g} s)"
    if isinstance(ended, RunningShard):
        return "" if ended.has_proper_results else f"{name} (pytest ended without running all tests)"
    return "" if ended.has_succeeded else name


def _run_to_the_end(
    started: dict[str, RunningCommands], waiting: list[tuple[Shard, Path]], root: Path, print_line: PrintLine
) -> None:
    """Start the waiting shards, which are added to the started parts, as others end; returns when all have."""
    running, progress = dict(started), time.monotonic() + PROGRESS_SECONDS
    while running or waiting:
        while waiting and sum(isinstance(each, RunningShard) for each in running.values()) < AT_ONCE:
            shard, directory = waiting.pop(0)
            running[shard.name] = started[shard.name] = RunningShard(shard, shard.paths, directory, root)
        for name in [name for name, each in running.items() if each.poll()]:
            ended = running.pop(name)
            print_line(f"=== {name}: {ended.processor_seconds:.0f} s of a processor\n{ended.text().rstrip()}\n")
        if time.monotonic() > progress:
            progress = time.monotonic() + PROGRESS_SECONDS
            print_line("\n".join(_progress(running.items())))
        time.sleep(POLL_SECONDS)


def _processor_seconds_of_ended() -> float:
    """Return the processor time of all child processes that have ended, and of those that they have waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _progress(left: Iterable[tuple[str, RunningCommands]]) -> Iterable[str]:
    for name, each in left:
        yield f"... {name}: {(each.text().split() or ['starting'])[-1]}"
