"""The command that checks everything: style, types, and the tests in some processes side by side."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.environment import ensure
from deploy.installer import PipInstaller
from deploy.refusal import Refusal
from deploy.tally import Tally, tally_of

ROOT = Path(__file__).resolve().parent.parent
# Tests that import the tiers live in a process of their own: gevent's monkey patches must not reach Playwright.
TIERS = ("worker", "webapp", "emulator")
# These wait most of their time, for leases and deadlines, so a process more costs the others little.
PATIENT = ("faults", "soak")
LONGEST = "faults/test_workers.py"  # goes with all other tests, so that the shards end at about the same time
NICENESS = 10  # the static checks leave the processors to the tests, some of which are about time
NEWS_SECONDS = 30.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Job:
    """Commands that run one after another; `is_pytest` where their closing line is to be counted."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    is_pytest: bool = False


class Running:
    """A job at work: its output goes into a file until it ends."""

    def __init__(self, job: Job, output: Path, root: Path) -> None:
        self.job = job
        self.output = output
        self.codes: list[int] = []
        self._root = root
        self._waiting = list(job.commands)
        self._next()

    def step(self) -> bool:
        """Go on to the next command when one has ended; returns whether all have."""
        if self._process and (code := self._process.poll()) is not None:
            self.codes.append(code)
            self._next()
        return self._process is None

    def end(self) -> None:
        """End what runs, with a grace for pytest to stop what its tests have started."""
        if self._process:
            self._process.send_signal(signal.SIGINT)  # on SIGTERM pytest leaves its fixtures as they are
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def text(self) -> str:
        """Return the output so far."""
        return self.output.read_text("utf-8", "replace")

    def _next(self) -> None:
        self._process = None
        if self._waiting:
            with self.output.open("ab") as output:
                self._process = subprocess.Popen(
                    self._waiting.pop(0),
                    cwd=self._root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # the terminal's Ctrl-C comes once, by `end`
                )
            if not self.job.is_pytest:
                os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)


def jobs(root: Path, python: str) -> list[Job]:
    """Return what is run without arguments: three shards of tests, and the static checks beside them."""
    pytest = (python, "-m", "pytest", "--color=no")
    tiers, patient, others = shards(root / "tests")
    static = (
        (python, "-m", "ruff", "check"),
        (python, "-m", "ruff", "format", "--check"),
        (python, "-m", "pyright"),
    )
    return [
        Job("tests of the tiers", ((*pytest, "-p", "tests.patched", *tiers),), is_pytest=True),
        Job("faults and a short soak", ((*pytest, *patient),), is_pytest=True),
        Job("all other tests", ((*pytest, *others),), is_pytest=True),
        Job("ruff and pyright", static),
    ]


def shards(tests: Path) -> list[list[str]]:
    """Return the paths of each shard, relative to the project; together they are all that holds tests."""
    tiers, patient, others = set[str](), set[str](), set[str]()
    for path in (path.relative_to(tests) for path in tests.rglob("test_*.py")):
        room, file = path.parts[0], path.as_posix()
        if room in TIERS:
            tiers.add(room)
        elif room not in PATIENT:
            others.add(room)
        else:
            (others if file == LONGEST else patient).add(file)
    named = [sorted(shard) for shard in (tiers, patient, others)]
    if not all(named):
        raise Refusal("a shard has no tests at all: tests/ is not whole")
    return [[f"tests/{name}" for name in shard] for shard in named]


def run_all(todo: list[Job], root: Path, say: Callable[[str], None]) -> int:
    """Run the jobs side by side, show each one's output when it ends; returns the exit code."""
    with TemporaryDirectory() as directory:
        running = [Running(job, Path(directory) / str(number), root) for number, job in enumerate(todo)]
        say("running side by side: " + ", ".join(job.name for job in todo))
        try:
            _wait(running, say)
        finally:
            for each in running:
                each.end()
        total = sum((tally_of(each.text()) for each in running if each.job.is_pytest), Tally())
        failed = [each.job.name for each in running if any(each.codes)]
        if failed:
            say(f"FAILED: {', '.join(failed)}")
        say(str(total))
        return 1 if failed or total.failed else 0


def run_some(arguments: Sequence[str], root: Path, python: str, say: Callable[[str], None]) -> int:
    """Run one pytest with the arguments, its output as it comes; returns its exit code."""
    kept = b""
    command = [python, "-u", "-m", "pytest", *arguments]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as pytest:
        assert pytest.stdout
        while part := os.read(pytest.stdout.fileno(), 65_536):  # not by lines: the dots of a line are news, too
            sys.stdout.buffer.write(part)
            sys.stdout.flush()
            kept += part
    say(str(tally_of(kept.decode("utf-8", "replace"))))
    return pytest.returncode


def _wait(running: list[Running], say: Callable[[str], None]) -> None:
    left, news = list(running), time.monotonic() + NEWS_SECONDS
    while left:
        for each in [each for each in left if each.step()]:
            left.remove(each)
            say(f"=== {each.job.name}\n{each.text().rstrip()}\n")
        if time.monotonic() > news:
            news = time.monotonic() + NEWS_SECONDS
            say("\n".join(f"... {each.job.name}: {(each.text().split() or ['starting'])[-1]}" for each in left))
        time.sleep(LOOK_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and run what the arguments say; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        python = str(ensure(ROOT, "test", PipInstaller(_say), _say))
        if given and given[0] == "--soak":
            return subprocess.call([python, "-m", "tests.soak", "--minutes", *given[1:]], cwd=ROOT)
        if given and given[0] == "--bench":
            return subprocess.call([python, "-m", "tests.bench", *given[1:]], cwd=ROOT)
        return run_some(given, ROOT, python, _say) if given else run_all(jobs(ROOT, python), ROOT, _say)
    except Refusal as refusal:
        print(f"the tests can't run: {refusal}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
