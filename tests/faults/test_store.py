"""Rows 9, 38 and 45, and how endings that no worker has written reach the database."""

import signal
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from millrace.worker.settings.schema import load
from millrace.worker.store.answers import AnswerRecord, find_answer_of_generation
from millrace.worker.store.database import Database
from millrace.worker.store.migration import migrate
from tests.client import emulate, wait_for
from tests.faults.conftest import StartedGeneration, ask, end_without_workers
from tests.faults.follower import Follower, check
from tests.faults.rig import Rig
from tests.postgres import PostgresProcess, absent


@contextmanager
def kept_by(rig: Rig) -> Generator[Database]:
    """Look into the rig's database."""
    database = Database(load({"MILLRACE_DATABASE_URL": rig.database_url, "MILLRACE_DATABASE_SECONDS": "20"}))
    yield database
    database.close()


def kept(database: Database, generation: str) -> AnswerRecord | None:
    return database.run(lambda session: find_answer_of_generation(session, generation))


def check_kept(database: Database, asked: StartedGeneration) -> None:
    """Wait until the database has the answer to its very end, and assert that it is what the reader has."""
    last = asked.follower.received[-1].cursor

    def whole() -> AnswerRecord | None:
        found = kept(database, asked.generation)
        return found if found and str(found.answer.last_event) == last else None

    found = wait_for(whole, 30, f"the answer up to {last} in the database")
    assert found.answer.content == asked.follower.text
    assert (found.question.content, found.question.id != found.answer.id) == (asked.message, True)
    assert found.answer.epoch == int(last.split("-")[0])


@contextmanager
def locked(database_url: str) -> Generator[None]:
    """Let nobody else write meanwhile."""
    other = sqlite3.connect(str(make_url(database_url).database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


def test_row_38_with_a_locked_database_the_answer_streams_and_is_stored_later(tmp_path: Path) -> None:
    with Rig(tmp_path, database_seconds=1) as rig, kept_by(rig) as database:
        with locked(rig.database_url):
            asked = ask(rig, 2)
            outcome = check(asked.follower, asked.client)
            assert (outcome["type"], outcome["stored"]) == ("complete", False)
            assert asked.follower.text == asked.text
            assert kept(database, asked.generation) is None
        check_kept(database, asked)
        again = ask(rig, 1)
        assert check(again.follower, again.client)["stored"] is True
        check_kept(database, again)


@pytest.fixture
def postgres() -> Generator[PostgresProcess]:
    if why := absent():
        pytest.skip(why)
    with PostgresProcess() as running:
        migrate(load({"MILLRACE_DATABASE_URL": running.url()}))
        yield running


def test_row_38_without_the_database_server_the_answer_streams_and_is_stored_later(
    tmp_path: Path, postgres: PostgresProcess
) -> None:
    with Rig(tmp_path, database_url=postgres.url(), database_seconds=1) as rig, kept_by(rig) as database:
        before = ask(rig, 1)
        assert check(before.follower, before.client)["stored"] is True
        check_kept(database, before)
        postgres.stop(signal.SIGQUIT)
        asked = ask(rig, 2, client=before.client)
        assert check(asked.follower, asked.client)["stored"] is False
        assert asked.follower.text == asked.text
        postgres.start()
        check_kept(database, asked)


def test_row_45_a_worker_paused_before_storing_does_not_overwrite_its_successors_answer(tmp_path: Path) -> None:
    with (
        Rig(tmp_path, workers=2, worker_modules=("tests.faults.pause_before_storing",)) as rig,
        kept_by(rig) as database,
    ):
        path = make_url(rig.database_url).database
        stop, late = Path(f"{path}.stop"), Path(f"{path}.late")  # as in stopping.py, which only a worker can import
        stop.touch()
        asked = ask(rig, 2)
        assert check(asked.follower, asked.client)["type"] == "complete"
        assert not stop.exists()
        check_kept(database, asked)
        successors = kept(database, asked.generation)
        assert successors
        for worker in rig.workers:
            worker.signal(signal.SIGCONT)
        assert wait_for(lambda: late.exists() and late.read_text(), 40, "the late one's end") == "refused"
        assert kept(database, asked.generation) == successors
        assert len(rig.calls(asked.message)) == 2


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A system whose processes all outlive the faults of its tests."""
    with Rig(tmp_path_factory.mktemp("store")) as rig:
        yield rig


def test_row_09_an_answer_finished_while_redis_is_away_and_empty_is_stored(rig: Rig) -> None:
    with kept_by(rig) as database:
        asked = ask(rig, 4)
        wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
        rig.valkey.stop()
        rig.valkey.wipe()
        found = wait_for(lambda: kept(database, asked.generation), 30, "the answer in the database")
        assert found.answer.content == asked.text
        rig.valkey.start()
        assert check(asked.follower, asked.client)["type"] == "complete"
        check_kept(database, asked)
        assert len(rig.calls(asked.message)) == 1


def test_row_24_the_text_of_a_cancelled_answer_is_stored(rig: Rig) -> None:
    rig.await_ready(rig.urls[0])
    with kept_by(rig) as database:
        asked = ask(rig, 30)
        wait_for(lambda: len(asked.follower.text) > 100, 30, "some text")
        asked.client.cancel(asked.generation)
        assert check(asked.follower, asked.client)["type"] == "cancelled"
        check_kept(database, asked)


def test_row_14_an_answer_ended_without_workers_is_stored_once_a_worker_starts(tmp_path: Path) -> None:
    with Rig(tmp_path, queue_seconds=2, lease_seconds=2) as rig, kept_by(rig) as database:
        ended = end_without_workers(rig)
        rig.start_worker()
        for each in ended:
            check_kept(database, each)


def test_row_13_a_stored_outcome_of_a_killed_worker_is_published_without_a_second_model_call(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path) as rig, kept_by(rig) as database:
        client = rig.client()
        text = "It is stored and not told. "
        message = emulate(text=text, tokens=1, first_delay=2)
        generation = client.ask(message)
        follower = Follower(rig.urls, client.http.cookies, generation, text)
        wait_for(lambda: rig.calls(message), 30, "the call")
        rig.valkey.signal(signal.SIGSTOP)  # what the model says goes nowhere but into the database
        wait_for(lambda: kept(database, generation), 40, "the answer in the database")
        rig.workers[0].signal(signal.SIGKILL)
        rig.valkey.signal(signal.SIGCONT)
        rig.start_worker()
        assert check(follower, client)["type"] == "complete"
        assert follower.text == text
        assert len(rig.calls(message)) == 1
        check_kept(database, StartedGeneration(message, generation, text, client, follower))
