"""Rows 26, 27, 35 and 43: web processes that exit, die, are full, or die between two steps of a create."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.client import Client, emulate, outcomes_of, wait_for
from tests.faults.conftest import words
from tests.faults.follower import Follower, check_all
from tests.faults.rig import Rig


# An answer lasts longer than all its readers need to connect, to both processes, while other tests take the processor.
@pytest.mark.parametrize(
    ("how", "count", "rate", "seconds"),
    [(signal.SIGTERM, 1000, 1, 40), (signal.SIGKILL, 300, 4, 15)],
    ids=["row 26, terminated", "row 27, killed"],
)
def test_rows_26_and_27_readers_of_an_ended_web_process_resume_on_another(
    tmp_path: Path, how: signal.Signals, count: int, rate: int, seconds: int
) -> None:
    with Rig(tmp_path, webs=2) as rig:
        client = rig.client()
        asked = []
        for number in range(10):
            text, deltas = words(seconds, rate, name=chr(97 + number))
            asked.append((client.ask(emulate(text=text, tokens=deltas, rate=rate)), text))
        cookies = client.http.cookies
        followers = [Follower(rig.urls, cookies, *asked[n % len(asked)], is_patient=True) for n in range(count)]
        wait_for(lambda: all(each.text for each in followers), 40, "every reader's first text")
        rig.webs[0].signal(how)
        rig.webs[0].wait(40)
        ended_at = time.monotonic()
        other = rig.client(1)
        other.http.cookies = client.http.cookies
        assert {outcome["type"] for outcome in check_all(followers, other)} == {"complete"}
        for each in followers:
            assert not each.refusals, each.last_refusal
            assert each.connections >= 2 or each.received[-1].at < ended_at  # it had its `done` from the first one
        assert sum(each.connections >= 2 for each in followers) > count / 2


def test_row_35_one_reader_over_the_limit_is_rejected_at_once_and_the_others_continue(tmp_path: Path) -> None:
    with Rig(tmp_path, max_readers=20) as rig:
        client = rig.client()
        text, deltas = words(6, rate=20)
        generation = client.ask(emulate(text=text, tokens=deltas, rate=20))
        followers = [Follower(rig.urls, client.http.cookies, generation, text) for _ in range(20)]
        wait_for(lambda: all(each.text for each in followers), 40, "every first text")
        answer = client.http.get(f"/api/generations/{generation}/events")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert client.http.get("/healthz").status_code == 200
        assert {outcome["type"] for outcome in check_all(followers, client)} == {"complete"}
        assert {each.connections for each in followers} == {1}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Two web processes that go on."""
    with Rig(tmp_path_factory.mktemp("pair"), webs=2) as rig:
        yield rig


@pytest.mark.parametrize("died_after", ["the key was bound", "the state was written"])
def test_row_43_a_create_that_crashed_between_two_steps_is_completed_by_a_retry(pair: Rig, died_after: str) -> None:
    rig = pair
    with redis.Redis(port=rig.valkey.port) as store:
        client = rig.client()
        message = emulate(text=f"Once: {died_after}.", rate=0)
        client.ask(emulate(text="cookie", rate=0))
        for worker in rig.workers:
            worker.signal(signal.SIGSTOP)
        first = client.post({"message": message}, **{"Idempotency-Key": "k"}).json()["id"]
        # A web process that died there leaves no task in the queue, and no state either where it died before that.
        store.delete("millrace")
        if died_after == "the key was bound":
            store.delete(*[key for key in store.scan_iter() if first.encode() in key])
        for worker in rig.workers:
            worker.signal(signal.SIGCONT)
        with ThreadPoolExecutor(4) as pool:
            again = list(pool.map(lambda _: client.post({"message": message}, **{"Idempotency-Key": "k"}), range(4)))
        assert {answer.json()["id"] for answer in again} == {first}
        assert outcomes_of(client.whole(first))[0]["type"] == "complete"
        assert len(rig.calls(message)) == 1


def test_row_26_a_stream_started_on_one_web_process_resumes_on_another(pair: Rig) -> None:
    client = pair.client()
    generation = client.ask(emulate(tokens=100, rate=50))
    reader = client.follow(generation)
    before = [next(reader) for _ in range(10)]
    reader.close()  # type: ignore[attr-defined]
    with Client(pair.urls[1]) as other:
        other.http.cookies = client.http.cookies
        after = list(other.follow(generation, before[-1].cursor))
    assert [each.event for each in before + after] == [each.event for each in client.whole(generation)]
