"""An answer streams, is resumed, and is read by any number of readers, byte for byte."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.client import (
    Client,
    Received,
    assert_complete,
    emulate,
    lines_of,
    outcomes_of,
    parse_frames,
    text_of,
    wait_for,
)
from tests.journeys.conftest import Calls

HOSTILE = {
    "line ends": "a\r\nb\rc\nd\x00e\u2028f\u2029g\x85h\x0bi",
    "event stream syntax": "data: x\n\nid: 9-9\n\nevent: error\n\n: hm\n\nretry: 1\n\n",
    "emoji": "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
    "right to left": "\u202eשלום مرحبا\u202c",
    "lone surrogates": "x\ud83dy\udc00z\ude00",
    "markup": "<script>alert(1)</script> & \\u0000 \\n \"'",
}


def test_chunks_reach_the_reader_while_the_model_sends_them(client: Client, calls: Calls) -> None:
    message = emulate(tokens=60, chars=5, rate=30)
    received = client.whole(client.ask(message))
    chunks = [each.at for each in received if each.event["type"] == "chunk"]
    first, last = calls.of(message)[0]["sent_at"]
    assert len(chunks) > 30
    assert chunks[-1] - chunks[0] >= 0.8 * (last - first)
    assert outcomes_of(received)[0]["mode"] == "live"


def test_every_reader_that_drops_after_any_event_resumes_byte_exact(client: Client) -> None:
    generation = client.ask(emulate(tokens=25, chars=7, rate=100))
    whole = client.whole(generation)
    for count in range(1, len(whole)):
        reader = client.follow(generation)
        before = [next(reader) for _ in range(count)]
        reader.close()  # type: ignore[attr-defined]  # it is a generator
        after = list(client.follow(generation, before[-1].cursor))
        assert _same(before + after, whole), f"dropped after event {count}"


def test_a_reader_that_drops_while_the_model_writes_resumes_byte_exact(client: Client) -> None:
    generation = client.ask(emulate(tokens=150, chars=9, rate=100))
    received: list[Received] = []
    drops = 0
    while not received or received[-1].event["type"] != "done":
        reader = client.follow(generation, received[-1].cursor if received else "")
        for count, each in enumerate(reader):
            received.append(each)
            if count == 2:
                drops += 1
                break
        reader.close()  # type: ignore[attr-defined]
    assert drops > 10
    assert_complete(received)
    assert _same(received, client.whole(generation))
    assert text_of(received) == client.snapshot(generation)["content"]


def test_two_readers_at_once_receive_the_same(client: Client) -> None:
    generation = client.ask(emulate(tokens=60, chars=6, rate=60))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: client.whole(generation), range(2))
    assert _same(one, other)


def test_after_the_end_the_log_is_replayed_and_a_reader_at_its_end_gets_204(client: Client) -> None:
    generation = client.ask(emulate(text="Over soon.", rate=0))
    whole = client.whole(generation)
    assert _same(client.whole(generation), whole)
    url = f"/api/generations/{generation}/events"
    assert client.http.get(url, headers={"Last-Event-ID": whole[-1].cursor}).status_code == 204
    assert client.http.get(url, params={"after": whole[-1].cursor}).status_code == 204
    assert client.http.get(url, headers={"Last-Event-ID": whole[-2].cursor}).status_code == 200


def test_a_cursor_ahead_of_the_log_begins_with_a_snapshot(client: Client) -> None:
    generation = client.ask(emulate(text="All of it.", rate=0))
    whole = client.whole(generation)
    ahead = list(client.follow(generation, "9999999999-9999999999"))
    assert ahead[0].event["type"] == "snapshot"
    assert text_of(ahead) == text_of(whole) == "All of it."
    assert ahead[-1].event["type"] == "done"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_survives_the_round_trip(client: Client, text: str) -> None:
    generation = client.ask(emulate(text=text, rate=200))
    assert text_of(client.whole(generation)) == text
    assert client.snapshot(generation)["content"] == text


def test_a_surrogate_pair_that_the_model_splits_is_joined(client: Client) -> None:
    received = client.whole(client.ask(emulate(text="one \U0001f600 two \U0001f601", split_surrogates=True, rate=50)))
    chunks = [each.event["content"] for each in received if each.event["type"] == "chunk"]
    assert "".join(chunks) == "one \U0001f600 two \U0001f601"
    assert all(chunk.encode("utf-8") for chunk in chunks)  # a split pair can't be encoded


def test_an_empty_delta_adds_nothing_and_a_one_megabyte_delta_arrives_whole(client: Client) -> None:
    large = "0123456789abcdef" * 65536
    received = client.whole(client.ask("/emulate " + json.dumps({"deltas": ["a", "", "b", "c" * 10]})))
    assert text_of(received) == "ab" + "c" * 10
    received = client.whole(client.ask("/emulate " + json.dumps({"tokens": 1, "chars": len(large)})))
    assert len(text_of(received)) == len(large)


def test_a_streamed_post_sends_the_same_bytes(client: Client) -> None:
    body = {"message": emulate(tokens=20, chars=6, rate=100), "stream": True}
    with client.http.stream("POST", "/api/generations", json=body) as response:
        assert response.status_code == 200
        generation = response.headers["Millrace-Generation-Id"]
        posted = list(parse_frames(lines_of(response)))
    assert_complete(posted)
    assert posted[0].event["generation"] == generation
    assert _same(posted, client.whole(generation))


def test_a_client_can_wait_for_the_whole_answer(client: Client) -> None:
    answer = client.post({"message": emulate(text="In one piece.", rate=50), "stream": False})
    assert answer.status_code == 200
    whole = answer.json()
    assert (whole["message"], whole["outcome"], whole["stop_reason"]) == ("In one piece.", "complete", "end_turn")
    assert whole["usage"]["exact"] is True


def test_the_same_idempotency_key_twenty_times_at_once_is_one_generation(client: Client, calls: Calls) -> None:
    message = emulate(text="Only once, whoever asks.", rate=100)
    client.ask(emulate(text="Who am I? The first answer gives a cookie."))
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.post({"message": message}, **{"Idempotency-Key": "k"}), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 1
    client.whole(ids.pop())
    assert len(calls.of(message)) == 1
    assert client.post({"message": "another"}, **{"Idempotency-Key": "k"}).status_code == 409


def test_another_users_generation_looks_absent(client: Client, system_url: str) -> None:
    generation = client.ask(emulate(text="Mine.", rate=0))
    client.whole(generation)
    with Client(system_url) as stranger:
        stranger.ask(emulate(text="Yours.", rate=0))
        for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("DELETE", "")):
            foreign = stranger.http.request(method, f"/api/generations/{generation}{path}")
            absent = stranger.http.request(method, f"/api/generations/{'0' * 32}{path}")
            assert foreign.status_code == absent.status_code == 404
            assert foreign.json()["detail"] == absent.json()["detail"]


def test_a_reader_connected_before_the_first_delta_receives_the_whole_answer(client: Client) -> None:
    generation = client.ask(emulate(text="Late, but whole.", first_delay=1))
    wait_for(lambda: client.snapshot(generation)["status"] == "running")
    assert text_of(client.whole(generation)) == "Late, but whole."


def _same(one: list[Received], other: list[Received]) -> bool:
    return [(each.cursor, each.event) for each in one] == [(each.cursor, each.event) for each in other]
