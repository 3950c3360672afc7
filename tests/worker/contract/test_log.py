"""The log: appending under a claim, reading from a cursor."""

from typing import cast

import pytest

from millrace.worker.contract.cancellation import cancel
from millrace.worker.contract.events import Chunk, StatusEvent, Suggestions, Title, encode
from millrace.worker.contract.ids import START, Cursor, new_id
from millrace.worker.contract.keys import channel_of, keys_of
from millrace.worker.contract.lease import release
from millrace.worker.contract.log import (
    PAGE,
    Append,
    AppendResult,
    Claim,
    LogSlice,
    Verdict,
    append_all,
    read,
    read_transcript,
)
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import (
    COMPLETE,
    DONE,
    LOG_TTL_MS,
    RUNNING,
    SETTINGS,
    append_event,
    claim_generation,
    create_completed,
    create_queued,
    cursors_of,
    field,
    is_leased,
    kinds_of,
)


def test_append_adds_one_entry_with_its_epoch_and_seq(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    answer = append_event(redis, claimed, 2, RUNNING)
    assert answer == AppendResult(Verdict.APPENDED, None, Cursor(claimed.epoch, 2))
    assert cursors_of(redis, claimed.generation) == [Cursor(0, 1), Cursor(claimed.epoch, 2)]


def test_published_message_is_the_id_and_the_bytes_of_the_entry(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    with redis.pubsub() as pubsub:
        pubsub.subscribe(keys_of(claimed.generation).channel)
        assert pubsub.get_message(timeout=30)
        append_event(redis, claimed, 2, Chunk("\ud83d\x00\u2028é"))
        message = pubsub.get_message(timeout=30)
    entry = read(Streams(redis), claimed.generation, Cursor(0, 1)).entries[0]
    assert message is not None
    assert message["channel"] == channel_of(claimed.generation)
    assert message["data"] == f"{claimed.epoch}-2 ".encode() + entry.data
    assert entry.data == encode(Chunk("\ud83d\x00\u2028é"))


def test_first_event_is_published(redis: Redis) -> None:
    with redis.pubsub() as pubsub:
        pubsub.psubscribe("*")
        assert pubsub.get_message(timeout=30)
        generation = create_queued(redis)
        message = pubsub.get_message(timeout=30)
    assert message is not None
    assert message["data"] == b"0-1 " + read(Streams(redis), generation).entries[0].data


def test_repeated_append_is_a_dup_and_leaves_one_entry(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    events = [Append(claimed, seq, "chunk", encode(Chunk(str(seq)))) for seq in (2, 3, 4)]
    assert [answer.verdict for answer in _answers(redis, events)] == [Verdict.APPENDED] * 3
    assert [answer.verdict for answer in _answers(redis, events)] == [Verdict.DUP] * 3
    assert [cursor.seq for cursor in cursors_of(redis, claimed.generation)] == [1, 2, 3, 4]


def _answers(redis: Redis, appends: list[Append]) -> list[AppendResult]:
    answers = append_all(redis, appends, LOG_TTL_MS)
    assert all(isinstance(answer, AppendResult) for answer in answers)
    return cast("list[AppendResult]", answers)


def test_append_after_a_missing_one_is_a_gap_with_its_position(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    append_event(redis, claimed, 2, RUNNING)
    answer = append_event(redis, claimed, 4, Chunk("b"))
    assert (answer.verdict, answer.top) == (Verdict.GAP, Cursor(claimed.epoch, 2))
    assert len(cursors_of(redis, claimed.generation)) == 2
    assert append_event(redis, claimed, 3, Chunk("a")).verdict == Verdict.APPENDED
    assert append_event(redis, claimed, 4, Chunk("b")).verdict == Verdict.APPENDED


def test_seq_below_the_first_of_the_claim_is_no_dup(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    assert append_event(redis, claimed, 1, Chunk("a")).verdict == Verdict.GAP


def test_append_with_another_token_is_fenced(redis: Redis) -> None:
    old = claim_generation(redis).claim
    append_event(redis, old, 2, RUNNING)
    assert append_event(redis, Claim(old.generation, "0" * 16, old.epoch), 3, Chunk("x")).verdict == Verdict.FENCED
    assert release(Streams(redis), old, SETTINGS)
    assert append_event(redis, old, 3, Chunk("x")).verdict == Verdict.FENCED
    new = claim_generation(redis, old.generation).claim
    assert append_event(redis, old, 3, Chunk("x")).verdict == Verdict.FENCED
    assert append_event(redis, new, 3, Chunk("y")).verdict == Verdict.APPENDED
    assert append_event(redis, old, 3, Chunk("x")).verdict == Verdict.FENCED
    assert len(cursors_of(redis, old.generation)) == 3


def test_append_to_a_lost_generation_is_lost(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    redis.flushall()
    assert append_event(redis, claimed, 2, RUNNING) == AppendResult(Verdict.LOST, None, START)
    assert redis.keys("*") == []


def test_append_to_a_state_from_before_its_claim_is_lost(redis: Redis) -> None:
    generation = create_queued(redis)
    before = cast("bytes", redis.dump(keys_of(generation).state))
    claimed = claim_generation(redis, generation).claim
    redis.restore(keys_of(generation).state, 0, before, replace=True)
    assert append_event(redis, claimed, 2, RUNNING).verdict == Verdict.LOST


def test_only_title_suggestions_and_done_may_follow_the_outcome(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    append_event(redis, claimed, 2, COMPLETE)
    assert field(redis, claimed.generation, "status") == "completed"
    for event in (Chunk("x"), StatusEvent("running"), COMPLETE):
        assert append_event(redis, claimed, 3, event).verdict == Verdict.OVER
    assert append_event(redis, claimed, 3, Title("t")).verdict == Verdict.APPENDED
    assert append_event(redis, claimed, 4, Suggestions(["s"])).verdict == Verdict.APPENDED
    assert append_event(redis, claimed, 5, DONE).verdict == Verdict.APPENDED
    assert kinds_of(redis, claimed.generation) == ["status", "complete", "title", "suggestions", "done"]


def test_nothing_may_follow_done_and_a_resend_is_still_a_dup(redis: Redis) -> None:
    claimed = create_completed(redis).claim
    for event in (Chunk("x"), Title("t"), DONE):
        assert append_event(redis, claimed, 6, event).verdict == Verdict.OVER
    assert append_event(redis, claimed, 5, DONE).verdict == Verdict.DUP


def test_done_ends_the_lease_and_starts_the_time_to_live_of_the_log(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    keys = keys_of(claimed.generation)
    assert redis.ttl(keys.log) > 24 * 3600
    append_event(redis, claimed, 2, COMPLETE)
    assert is_leased(redis, claimed.generation)
    append_event(redis, claimed, 3, DONE)
    assert not is_leased(redis, claimed.generation)
    assert 0 < redis.pttl(keys.log) <= LOG_TTL_MS
    assert redis.ttl(keys.state) > 24 * 3600


def test_every_append_result_has_the_kind_of_cancel(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    assert append_event(redis, claimed, 2, RUNNING).cancelled_by is None
    cancel(Streams(redis), claimed.generation, "user", SETTINGS)
    for seq in (2, 3, 9):
        assert append_event(redis, claimed, seq, Chunk("x")).cancelled_by == "user"


def test_appends_of_many_generations_share_a_round_trip_and_fail_separately(redis: Redis) -> None:
    claims = [claim_generation(redis).claim for _ in range(3)]
    redis.set(keys_of(claims[1].generation).log, "no stream")
    answers = append_all(redis, [Append(each, 2, "chunk", encode(Chunk("a"))) for each in claims], LOG_TTL_MS)
    assert isinstance(answers[1], Exception)
    assert [isinstance(each, AppendResult) and each.verdict for each in (answers[0], answers[2])] == [
        Verdict.APPENDED
    ] * 2


def test_read_from_any_cursor_of_the_log_is_joined_and_has_the_later_events(redis: Redis) -> None:
    generation = create_completed(redis).claim.generation
    cursors = cursors_of(redis, generation)
    for place, cursor in enumerate(cursors):
        run = read(Streams(redis), generation, cursor)
        assert run.is_joined
        assert [entry.cursor for entry in run.entries] == cursors[place + 1 :]


@pytest.mark.parametrize("cursor", [Cursor(0, 2), Cursor(9_999_999_999, 1), Cursor(1, 1), Cursor(0, 9_999_999_999)])
def test_read_from_a_cursor_outside_the_log_is_not_joined(redis: Redis, cursor: Cursor) -> None:
    generation = create_completed(redis).claim.generation
    run = read(Streams(redis), generation, cursor)
    assert not run.is_joined
    assert [entry.cursor for entry in run.entries] == [each for each in cursors_of(redis, generation) if each > cursor]


def test_read_of_missing_log_is_empty(redis: Redis) -> None:
    generation = new_id()
    assert read(Streams(redis), generation) == LogSlice([], is_joined=True)
    assert read(Streams(redis), generation, Cursor(0, 1)) == LogSlice([], is_joined=False)


@pytest.mark.parametrize("is_in_the_log", [True, False])
def test_read_is_limited_to_its_count_and_continues_from_the_last(redis: Redis, is_in_the_log: bool) -> None:
    generation = create_completed(redis).claim.generation
    cursors = cursors_of(redis, generation)
    run = read(Streams(redis), generation, Cursor(0, 1) if is_in_the_log else Cursor(0, 2), 2)
    assert ([entry.cursor for entry in run.entries], run.is_joined) == (cursors[1:3], is_in_the_log)
    assert [entry.cursor for entry in read(Streams(redis), generation, cursors[2], 2).entries] == cursors[3:5]


def test_transcript_is_folded_over_all_pages_up_to_the_cursor(redis: Redis) -> None:
    claimed = claim_generation(redis).claim
    count = 2 * PAGE + 7
    chunks = [Append(claimed, seq, "chunk", encode(Chunk(f"{seq},"))) for seq in range(2, count)]
    append_all(redis, chunks, LOG_TTL_MS)
    transcript, cursor = read_transcript(Streams(redis), claimed.generation)
    assert cursor == Cursor(claimed.epoch, count - 1)
    assert transcript.content == "".join(f"{seq}," for seq in range(2, count))
    upto = Cursor(claimed.epoch, PAGE + 3)
    transcript, cursor = read_transcript(Streams(redis), claimed.generation, upto)
    assert cursor == upto
    assert transcript.content == "".join(f"{seq}," for seq in range(2, PAGE + 4))


def test_transcript_of_missing_log_ends_at_the_start(redis: Redis) -> None:
    transcript, cursor = read_transcript(Streams(redis), new_id())
    assert (transcript.content, cursor) == ("", START)
