"""Row 8, at the end: Redis loses an outcome and a `done` that it has acknowledged."""

import signal
from collections.abc import Callable, Iterator

import pytest

from tests.client import Client, assert_complete, assert_gapless, emulate, outcomes_of, text_of, wait_for
from tests.faults.follower import Follower, check
from tests.faults.rig import Rig

LAST_WRITES = 1500  # bytes of Redis's file: the outcome, `done`, and a little of the text


def _size(rig: Rig) -> int:
    return sum(path.stat().st_size for path in rig.valkey.directory.glob("appendonlydir/*.incr.aof"))


def _its_end(rig: Rig, _: int) -> None:
    assert rig.valkey.lose_tail(LAST_WRITES)


def _its_claim_too(rig: Rig, before: int) -> None:
    assert rig.valkey.lose_tail(_size(rig) - before)


def _everything(rig: Rig, _: int) -> None:
    rig.valkey.wipe()


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("endings"), lease_seconds=2) as rig:
        yield rig


@pytest.mark.parametrize("lose", [_its_end, _its_claim_too, _everything])
def test_row_08_an_outcome_that_redis_lost_is_appended_again_without_a_second_model_call(
    rig: Rig, lose: Callable[[Rig, int], None]
) -> None:
    rig.await_ready(rig.urls[0])  # after the loss of the test before
    client = rig.client()
    text = f"It was there, and it is there again: {lose.__name__}."
    message = emulate(text=text, tokens=8, rate=20)
    rig.workers[0].signal(signal.SIGSTOP)
    generation = client.ask(message)
    before = _size(rig)
    rig.workers[0].signal(signal.SIGCONT)
    wait_for(lambda: client.snapshot(generation)["status"] == "completed", 30, "the end")
    rig.valkey.stop()
    lose(rig, before)
    rig.valkey.start()
    _check_the_end(rig, client, generation, text, may_be_stored=lose is _everything)
    assert len(rig.calls(message)) == 1


def _check_the_end(rig: Rig, client: Client, generation: str, text: str, *, may_be_stored: bool) -> None:
    """Assert what a reader gets who comes at once, and who comes after the end: the log, or the stored answer."""
    follower = Follower(rig.urls, client.http.cookies, generation, text)
    assert check(follower, client, 15)["type"] == "complete"
    received = list(client.follow(generation))
    if may_be_stored and received[0].event["type"] == "snapshot":  # its worker has not rebuilt it yet
        assert_gapless(received)
    else:
        assert_complete(received)
    assert [each["type"] for each in outcomes_of(received)] == ["complete"]
    assert text_of(received) == text
    assert rig.workers[0].is_alive
