"""The command that checks everything: the flags, the static checks, and which tests run in which process."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.check_runner import END_SECONDS, Checks, Shard, run_all
from deploy.environment import PrintLine, ensure
from deploy.errors import StartError
from deploy.installer import PipInstaller
from deploy.result_log import OPTION, PLUGIN, read

ROOT = Path(__file__).resolve().parent.parent
HELP = """\
usage: python3 deploy/test.py [--quick | --environment | --soak MINUTES | --bench [NAME ...] | --live | --real-model]
       python3 deploy/test.py PYTEST ARGUMENTS

Without arguments: every check and every test, side by side, but those of tests/package, which build the image and
install the package: python3 deploy/test.py tests/package, before a release. A test that fails is run once more, alone;
when it passes then, it counts as passed and is reported as FLAKY. More than three such tests fail the run.

  --quick            the static checks and the fast tests only, for the inner loop
  --environment      make .venv with all that the tests need, and end
  --soak MINUTES     random faults on a running system for so long; --soak --help lists more flags, such as --seed
  --bench [NAME ...] measure beside the peers; without a name, every scenario; --bench --help lists more flags
  --live             ask the configured models of the real providers, which costs money; needs their credentials
  --real-model       stream, stop and resume answers of a small model on the CPU; fetches about 130 MB the first time
  -h, --help         print this help

Anything else is given to one pytest, such as a path, -k, -x; nothing is run again then. Tests of webapp, worker and
emulator need -p tests.patched.
The last line is the tally: N passed, N failed, N skipped.
"""
MODULES = {"--bench": "tests.bench", "--live": "tests.live", "--real-model": "tests.real_model"}
# Tests that import the tiers have processes of their own: gevent's monkey patches must not reach Playwright.
TIERS = ("worker", "webapp", "emulator")
PATCHED = ("-p", "tests.patched")
# Tests that mostly wait, for leases and deadlines, start first, spread over more processes than there are processors;
# the others have what they leave.
PATIENT = {
    "faults and a short soak": (("faults", "soak"), 3),
    "journeys": (("journeys",), 2),
    "browser": (("browser",), 3),
}
# The others of the tiers, the slowest first, by folders; a file belongs to the innermost of them. The SDKs of providers
# are imported by few.
BUSY = {
    "tests of the web": ("webapp",),
    "tests of the worker": ("worker",),
    "tests of providers and contract": ("worker/providers", "worker/contract"),
    "tests of facades and emulator": ("webapp/facades", "emulator"),
}
# The rooms outside the tiers whose tests take long enough for a process of their own.
LARGE = ("deploy",)
# Left out unless they are named: they install the whole package once more, from the index, and take minutes.
NAMED_ONLY = ("package",)
# How long the longest patient files take, in seconds, while everything else runs, too.
PATIENT_SECONDS = {
    "faults/test_workers.py": 250,
    "faults/test_redis.py": 120,
    "faults/test_store.py": 95,
    "soak/test_soak.py": 80,
    "faults/test_webs.py": 70,
    "faults/test_takeover.py": 45,
    "faults/test_rolling.py": 50,
    "faults/test_readers.py": 50,
    "faults/test_vanishing.py": 40,
    "journeys/test_websocket.py": 70,
    "journeys/test_documented_commands.py": 70,
    "journeys/test_context.py": 65,
    "journeys/test_use_from.py": 60,
    "journeys/test_authorization.py": 40,
    "browser/chat/test_outages.py": 60,
    "browser/accessibility/test_axe.py": 50,
    "browser/chat/test_control.py": 40,
}
OTHER_SECONDS = 20
# Left out of --quick: tests that start whole systems, and the files that take longest, which is over half of the time.
SLOW = (
    "bench",
    "browser",
    "faults",
    "journeys",
    "live",
    "package",
    "soak",
    "deploy/doctor/test_main.py",
    "deploy/doctor/test_site.py",
    "deploy/doctor/test_streams.py",
    "deploy/test_check_runner.py",
    "deploy/test_environment.py",
    "deploy/test_migration.py",
    "deploy/system/test_supervisor.py",
    "emulator/test_responders_load.py",
    "webapp/facades/test_conversation.py",
    "webapp/generation/test_creation.py",
    "webapp/generation/test_stored_log.py",
    "webapp/guard/test_csrf.py",
    "webapp/guard/test_ownership.py",
    "webapp/openapi/test_document.py",
    "webapp/relay",
    "webapp/routes/test_conversations.py",
    "webapp/routes/test_events.py",
    "webapp/routes/test_generations.py",
    "webapp/test_gunicorn_config.py",
    "webapp/test_mounting.py",
    "webapp/test_request_input.py",
    "webapp/test_request_input_fuzz.py",
    "webapp/test_settings.py",
    "worker/after/test_hooks.py",
    "worker/after/test_learning_task.py",
    "worker/context/search/test_source_answers.py",
    "worker/context/test_prompt_answers.py",
    "worker/context/test_sources_gathering.py",
    "worker/contract/test_log_machine.py",
    "worker/contract/test_log_mutations.py",
    "worker/contract/test_queue.py",
    "worker/providers/bedrock/test_wire.py",
    "worker/publishing/test_writer.py",
    "worker/store",
    "worker/test_finishing.py",
    "worker/test_task_transport.py",
    "worker/test_tasks.py",
    "worker/upkeep/test_canary.py",
    "worker/upkeep/test_sweeper.py",
    "worker/upkeep/test_watcher.py",
)


def shards(root: Path, python: str) -> list[Shard]:
    """Return the shards that together hold all tests; raises StartError where one of them has no tests."""
    pytest = (python, "-m", "pytest", "--color=no")
    files = _test_files(root)
    found: list[Shard] = []
    for name, (folders, count) in PATIENT.items():
        groups = _spread({path.as_posix() for path in files if path.parts[0] in folders}, count)
        found += [Shard(f"{name} {number}", pytest, _paths(group)) for number, group in enumerate(groups, 1)]
    waiting = {folder for folders, _ in PATIENT.values() for folder in folders}
    rooms = {path.parts[0] for path in files} - waiting - {*TIERS, *NAMED_ONLY}
    busy: list[Shard] = []
    for name, folders in BUSY.items():
        group = {path.as_posix() for path in files if _folder_of(path) in folders}
        busy.append(Shard(name, (*pytest, *PATCHED), _paths(group)))
    others = [Shard("all other tests", pytest, _paths(rooms - {*LARGE}))]
    others += [Shard(f"tests of {room}", pytest, _paths(rooms & {room})) for room in LARGE]
    return _with_tests([*found, *busy[:2], *others, *busy[2:]])  # those that take longest begin first


def _folder_of(file: Path) -> str:
    """Return the folder of `BUSY` that a file belongs to, nothing where none does."""
    folders = [folder for folders in BUSY.values() for folder in folders if file.is_relative_to(folder)]
    return max(folders, key=len, default="")


def _spread(files: set[str], count: int) -> list[set[str]]:
    """Return the files in groups that take about the same time: each, the longest first, into the shortest group."""
    groups = [set[str]() for _ in range(count)]
    seconds = [0] * count
    for file in sorted(files, key=lambda file: (-PATIENT_SECONDS.get(file, OTHER_SECONDS), file)):
        shortest = seconds.index(min(seconds))
        groups[shortest].add(file)
        seconds[shortest] += PATIENT_SECONDS.get(file, OTHER_SECONDS)
    return groups


def quick_shards(root: Path, python: str) -> list[Shard]:
    """Return the shards of the fast tests; raises StartError where one of them has no tests."""
    pytest = (python, "-m", "pytest", "--color=no", *(f"--ignore=tests/{path}" for path in SLOW))
    rooms = {path.parts[0] for path in _test_files(root)} - set(SLOW)
    return _with_tests(
        [
            Shard("tests of the worker", (*pytest, *PATCHED), _paths(rooms & {"worker"})),
            Shard("tests of web and emulator", (*pytest, *PATCHED), _paths(rooms & {"webapp", "emulator"})),
            Shard("all other tests", pytest, _paths(rooms - set(TIERS))),
        ]
    )


def _test_files(root: Path) -> list[Path]:
    return [path.relative_to(root / "tests") for path in (root / "tests").rglob("test_*.py")]


def _with_tests(found: list[Shard]) -> list[Shard]:
    if not all(shard.paths for shard in found):
        raise StartError("a shard has no tests at all: the directory tests/ is not complete")
    return found


def _paths(names: set[str]) -> tuple[str, ...]:
    return tuple(f"tests/{name}" for name in sorted(names))


def static_checks(python: str) -> Checks:
    """Return the commands that check style and types."""
    module = (python, "-m")
    commands = ((*module, "ruff", "check"), (*module, "ruff", "format", "--check"), (*module, "pyright"))
    return Checks("ruff and pyright", commands)


def run_some(arguments: Sequence[str], root: Path, python: str, print_line: PrintLine) -> int:
    """Run one pytest with the arguments, its output as it comes, then the tally; returns pytest's exit code."""
    with TemporaryDirectory() as directory:
        results = Path(directory) / "results"
        code = _call([python, "-m", "pytest", "-p", PLUGIN, OPTION, str(results), *arguments], root)
        print_line(str(read(results).tally()))
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the environment and run what the arguments name; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if len(given) > 1 and "--quick" in given:
        print("--quick takes no other arguments", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(given, str(ensure(ROOT, "test", PipInstaller(_print_line), _print_line)))
    except StartError as error:
        print(f"The tests can't run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(given: Sequence[str], python: str) -> int:
    match given:
        case [] | ["--quick"]:
            chosen = quick_shards(ROOT, python) if given else shards(ROOT, python)
            return run_all(chosen, [static_checks(python)], ROOT, _print_line)
        case ["--environment"]:
            return 0  # it has been made
        case ["--soak", "-h" | "--help"]:
            return _call([python, "-m", "tests.soak", "--help"], ROOT)
        case ["--soak", *rest]:
            return _call([python, "-m", "tests.soak", "--minutes", *rest], ROOT)
        case [flag, *rest] if flag in MODULES:
            return _call([python, "-m", MODULES[flag], *rest], ROOT)
        case _:
            return run_some(given, ROOT, python, _print_line)


def _call(command: Sequence[str], root: Path) -> int:
    """Run a command to its end; Ctrl-C reaches it, too, and it has its time to stop what it has started."""
    with subprocess.Popen(command, cwd=root) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_SECONDS)
            raise


def _print_line(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
