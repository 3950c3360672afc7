"""Runs an earlier commit's worker with this version's web, and the other way round, over one Redis and one database.

`python -m tests.faults.releases [COMMIT]`, by default the commit of half a day before the newest one. In each pairing
answers stream, resume and are cancelled, and one goes on when the other version's worker takes over.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.client import outcomes_of, wait_for
from tests.faults.conftest import StartedGeneration, ask
from tests.faults.rig import ROOT, Rig

EARLIER_SECONDS = 12 * 3600
_SETTINGS = (
    "from millrace.worker.settings.schema import declared, name_of; print(*(name_of(each) for _, each in declared()))"
)


def earlier_commit() -> str:
    """Return the newest commit that is half a day older than the checked-out one, "" where the history lacks it."""
    newest = int(_git("log", "-1", "--format=%ct"))
    return _git("rev-list", "-1", f"--before=@{newest - EARLIER_SECONDS}", "HEAD")


@contextmanager
def checkout(commit: str) -> Generator[Path]:
    """Check a commit out beside this one meanwhile."""
    with TemporaryDirectory() as name:
        root = Path(name) / "system"
        _git("worktree", "add", "--detach", str(root), commit)
        try:
            yield root
        finally:
            _git("worktree", "remove", "--force", str(root))


class PairedRig(Rig):
    """A rig whose copies of the system are given only the settings that they know."""

    def environment(self, tier: str) -> dict[str, str]:
        environment = super().environment(tier)
        path = {"PYTHONPATH": environment["PYTHONPATH"], "PATH": os.environ["PATH"]}
        known = _run([sys.executable, "-c", _SETTINGS], self._root, path).split()
        return {
            name: value
            for name, value in environment.items()
            if name.removeprefix("MILLRACE_").lower() in known or name[:9] != "MILLRACE_"
        }


def run_pair(directory: Path, web: Path, worker: Path) -> None:
    """Stream, resume and cancel with the web and the worker of these copies, then let the web's worker take over."""
    directory.mkdir()
    with PairedRig(directory, workers=0, webs=0, takeover="continue", lease_seconds=3) as rig:
        rig.change_root(worker)
        rig.start_worker()
        rig.change_root(web)
        rig.start_web()
        rig.await_ready(rig.urls[0])
        whole, stopped = ask(rig, 4, name="a"), ask(rig, 60, name="b")
        for each in (whole, stopped):
            wait_for(lambda each=each: len(each.follower.text) > 100, 30, "some text")
            each.follower.drop()
        wait_for(lambda: stopped.follower.connections > 1, 30, "a second connection")
        stopped.client.cancel(stopped.generation)
        assert outcome_of(stopped) == "cancelled"
        assert outcome_of(whole) == "complete"
        assert (whole.follower.text, whole.follower.connections > 1) == (whole.text, True)
        taken = ask(rig, 8, name="c")
        wait_for(lambda: len(taken.follower.text) > 100, 30, "some text")
        rig.start_worker()
        rig.workers[0].signal(signal.SIGKILL)
        assert outcome_of(taken) == "complete"
        assert taken.follower.text == taken.text
        assert [each["reason"] for each in taken.follower.of_type("snapshot")] == ["takeover"]


def outcome_of(asked: StartedGeneration) -> str:
    """Return the type of an answer's outcome, which an earlier web's pollers get without newer fields."""
    wait_for(lambda: asked.follower.is_done, 60, "done")
    assert not asked.follower.violations, asked.follower.violations[:3]
    (outcome,) = outcomes_of(asked.follower.received)
    polled = asked.client.snapshot(asked.generation)
    assert polled["content"] == asked.follower.text
    assert polled["outcome"].items() <= outcome.items(), (polled["outcome"], outcome)
    return str(outcome["type"])


def _git(*arguments: str) -> str:
    return _run(["git", *arguments], ROOT, dict(os.environ)).strip()


def _run(command: list[str], root: Path, environment: dict[str, str]) -> str:
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


def main(commit: str) -> None:
    """Run both pairings and print what has passed."""
    if not commit:
        print("No earlier commit: the history of this clone is too short.")
        return
    with TemporaryDirectory() as name, checkout(commit) as earlier:
        for web, worker, said in ((ROOT, earlier, "this web"), (earlier, ROOT, "the earlier web")):
            run_pair(Path(name) / said.replace(" ", "-"), web, worker)
            print(f"{said} with the other version's worker: streamed, resumed, cancelled, taken over ({commit[:9]})")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else earlier_commit())
