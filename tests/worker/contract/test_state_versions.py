"""Row 53: a generation that a worker of the release before runs is read, taken over and ended by this version."""

import json
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.log import Claim, Verdict, read_transcript
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_request, read_state
from tests.worker.contract.encodings import CORPUS, state_of
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    RUNNING,
    append_event,
    claim_generation,
    kinds_of,
    make_due,
    sweep_twice,
)

Json = dict[str, Any]


@pytest.fixture(params=sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def frozen(request: pytest.FixtureRequest, redis: Redis) -> Json:
    """A running generation as the release before left it in Redis."""
    running: Json = json.loads(request.param.read_text("ascii"))["running"]
    keys = keys_of(running["generation"])
    redis.hset(keys.state, mapping=running["state"])
    for entry, fields in running["log"]:
        redis.xadd(keys.log, fields, id=entry)
    redis.zadd(keys.leases, {running["generation"]: 9e15})
    return running


def test_running_generation_of_the_release_before_is_read_and_its_worker_goes_on(redis: Redis, frozen: Json) -> None:
    generation, state = frozen["generation"], frozen["state"]
    found = read_state(Streams(redis), generation)
    assert found is not None
    assert (found.status, found.attempt, found.owner) == ("running", 1, "owner")
    assert read_request(Streams(redis), generation) is not None
    transcript, top = read_transcript(Streams(redis), generation)
    assert (transcript.content, str(top)) == ("half", state["top"])
    old = Claim(generation, state["token"], int(state["epoch"]))
    assert append_event(redis, old, top.seq + 1, Chunk(" and whole")).verdict == Verdict.APPENDED
    assert read_transcript(Streams(redis), generation)[0].content == "half and whole"


def test_running_generation_of_the_release_before_is_taken_over_and_ended(redis: Redis, frozen: Json) -> None:
    generation, state = frozen["generation"], frozen["state"]
    make_due(redis, generation)
    sweep_twice(redis, generation)
    successor = claim_generation(redis, generation)
    assert successor.claim.epoch > int(state["epoch"])
    seq = len(frozen["log"])
    for event in (RUNNING, Chunk("new"), COMPLETE, DONE):
        seq += 1
        assert append_event(redis, successor.claim, seq, event).verdict == Verdict.APPENDED
    old = Claim(generation, state["token"], int(state["epoch"]))
    assert append_event(redis, old, seq + 1, Chunk("late")).verdict in (Verdict.FENCED, Verdict.OVER)
    assert kinds_of(redis, generation)[-2:] == ["complete", "done"]
    ended = read_state(Streams(redis), generation)
    assert ended is not None
    assert ended.is_done


def test_state_of_this_version_has_every_field_of_the_release_before_in_its_form(redis: Redis, frozen: Json) -> None:
    now = state_of(redis)
    shared = {name: value for name, value in frozen["state"].items() if not name.startswith("ask:")}
    missing = shared.keys() - now["state"].keys()
    assert not missing, missing
    for name, value in shared.items():
        assert value.isdigit() == now["state"][name].isdigit(), name
    assert [fields.keys() for _, fields in now["log"]] == [fields.keys() for _, fields in frozen["log"]]
