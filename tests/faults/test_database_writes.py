"""Row 52: PostgreSQL answers and refuses every write, as with a full disk, or after a failover to a replica."""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from millrace.worker.settings.schema import load
from millrace.worker.store.migration import migrate
from tests.client import Client, emulate
from tests.faults.conftest import StartedGeneration, ask, words
from tests.faults.follower import Follower, check
from tests.faults.rig import Rig
from tests.faults.test_store import check_kept, kept, kept_by
from tests.postgres import PostgresProcess, absent

TABLES = "conversations", "messages", "profiles", "memories"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    if why := absent():
        pytest.skip(why)
    with PostgresProcess() as running:
        migrate(load({"MILLRACE_DATABASE_URL": running.url()}))
        yield running


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresProcess) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("writes"), database_url=postgres.url(), database_seconds=2) as rig:
        yield rig


@contextmanager
def full(postgres: PostgresProcess) -> Generator[None]:
    """Have each new row refused as a full disk does it."""
    postgres.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
        "'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    for table in TABLES:
        postgres.query(f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION refuse()")
    yield
    postgres.query("DROP FUNCTION refuse() CASCADE")


@contextmanager
def read_only(postgres: PostgresProcess) -> Generator[None]:
    """Have the processes connect to a server that takes no writes; connections made meanwhile stay so afterwards."""
    postgres.query("ALTER DATABASE postgres SET default_transaction_read_only = on", "template1")
    postgres.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'", "template1")
    yield
    postgres.query("ALTER DATABASE postgres SET default_transaction_read_only = off", "template1")


def ask_in(rig: Rig, conversation: str, client: Client, name: str) -> StartedGeneration:
    """Ask in a conversation that is stored, and follow the answer."""
    text, count = words(1, name=name)
    message = emulate(text=text, tokens=count, rate=40)
    generation = client.ask(message, conversation_id=conversation)
    return StartedGeneration(
        message, generation, text, client, Follower(rig.urls, client.http.cookies, generation, text)
    )


@pytest.mark.parametrize("fault", [full, read_only])
def test_row_52_while_postgresql_refuses_writes_answers_stream_and_are_stored_when_it_accepts_them(
    rig: Rig, postgres: PostgresProcess, fault: Callable[[PostgresProcess], AbstractContextManager[None]]
) -> None:
    name = "f" if fault is full else "r"
    before = ask(rig, 1, name=f"{name}a")
    assert check(before.follower, before.client)["stored"] is True
    conversation = str(before.client.snapshot(before.generation)["conversation_id"])
    place = f"/api/conversations/{conversation}"
    running = ask(rig, 3, name=f"{name}b", client=before.client)
    with kept_by(rig) as database:
        with fault(postgres):
            asked = [
                running,
                ask_in(rig, conversation, before.client, f"{name}c"),
                ask(rig, 1, name=f"{name}d", client=before.client),
            ]
            for each in asked:
                outcome = check(each.follower, each.client)
                assert (outcome["type"], outcome["stored"], each.follower.text) == ("complete", False, each.text)
                assert each.client.snapshot(each.generation)["content"] == each.text
                assert kept(database, each.generation) is None
            assert before.text in before.client.http.get(f"{place}/messages").text, "what is stored can be read"
            refused = before.client.http.patch(place, json={"title": "Renamed"})
            assert (refused.status_code, refused.json()["code"]) == (503, "store_away")
            assert refused.headers["Retry-After"]
        for each in asked:
            check_kept(database, each)
        assert before.client.http.patch(place, json={"title": "Renamed"}).status_code == 200
        after = ask(rig, 1, name=f"{name}e", client=before.client)
        assert check(after.follower, after.client)["stored"] is True
