"""Row 53: what the releases before have written is read, and what this version writes they can read."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from millrace.worker.contract.events import AnyEvent, decode, encode, is_of_unknown_type
from millrace.worker.contract.feed import FeedEvent
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.log import LogEntry, decode_entries
from millrace.worker.contract.request import decode_request, decode_summary, encode_request
from tests.worker.contract.encodings import CORPUS, current, forms

RELEASES = sorted(CORPUS.glob("*.json"))
RULE = "This form is shared with processes of the release before; deploy/docs/upgrades.md has the rules for changes."
Json = dict[str, Any]


@pytest.fixture(params=RELEASES, ids=lambda path: path.stem)
def frozen(request: pytest.FixtureRequest) -> Json:
    loaded: Json = json.loads(request.param.read_text("ascii"))
    return loaded


def test_there_is_a_corpus() -> None:
    assert RELEASES


def test_every_event_of_a_release_before_is_read_without_a_loss(frozen: Json) -> None:
    types = {json.loads(each)["type"] for each in frozen["events"]}
    assert len(types) == 15
    for each in frozen["events"]:
        event = decode(each)
        assert _covers(json.loads(encode(event)), json.loads(each)), RULE
    for each in frozen["feed_events"]:
        assert _covers(msgspec.to_builtins(msgspec.json.decode(each, type=FeedEvent)), json.loads(each)), RULE


def test_every_request_of_a_release_before_is_read_without_a_loss(frozen: Json) -> None:
    for each in frozen["requests"]:
        assert _covers(
            json.loads(encode_request(decode_request(each)).decode("utf-8", "surrogatepass")), json.loads(each)
        ), RULE
    for each in frozen["summaries"]:
        assert _covers(msgspec.to_builtins(decode_summary(each)), json.loads(each)), RULE


def test_the_release_before_reads_what_this_version_writes(frozen: Json) -> None:
    """By its schemas, which allow further fields; an event of a type that it does not know, it skips."""
    definitions = {"$defs": frozen["forms"]}
    names = {each["properties"]["type"]["enum"][0]: name for name, each in _events_of(frozen)}
    written = [json.loads(each) for kind in ("events", "feed_events") for each in current()[kind]]
    known = [each for each in written if each["type"] in names]
    assert {each["type"] for each in known} == names.keys(), RULE
    for each in known:
        Draft202012Validator({"$ref": f"#/$defs/{names[each['type']]}", **definitions}).validate(each)
    for each in current()["requests"]:
        Draft202012Validator({"$ref": "#/$defs/ModelRequest", **definitions}).validate(json.loads(each))


def test_forms_only_grow_by_fields_with_defaults(frozen: Json) -> None:
    now = forms()
    for name, before in frozen["forms"].items():
        assert name in now, f"{name} is gone. {RULE}"
        fields, required = now[name]["properties"], set(now[name].get("required", ()))
        for field, form in before["properties"].items():
            assert fields.get(field) == form, f"{name}.{field}: {form} became {fields.get(field)}. {RULE}"
        assert required == set(before.get("required", ())), f"{name}. {RULE}"


def test_keys_and_task_messages_keep_their_names(frozen: Json) -> None:
    now = current()
    assert now["keys"] == frozen["keys"], RULE
    before, task = frozen["task"], now["task"]
    assert task["headers"]["task"] == before["headers"]["task"], RULE
    assert task["headers"].keys() >= before["headers"].keys(), RULE
    arguments = [json.loads(base64.b64decode(each["body"]))[:2] for each in (before, task)]
    assert arguments[0] == arguments[1], RULE


def test_events_that_only_a_newer_version_knows_are_skipped_and_further_fields_are_ignored() -> None:
    def entries() -> Iterator[LogEntry]:
        for number, event in enumerate(current()["events"], 1):
            grown = json.loads(event) | {"newer": {"field": [1]}}
            yield LogEntry(Cursor(1, 2 * number), json.dumps(grown).encode())
            yield LogEntry(Cursor(1, 2 * number + 1), b'{"type":"wave","content":7}')

    assert is_of_unknown_type(b'{"type":"wave","content":7}')
    assert list(decode_entries(entries())) == [decode(each) for each in current()["events"]]


def _events_of(frozen: Json) -> list[tuple[str, Json]]:
    return [(name, each) for name, each in frozen["forms"].items() if "enum" in each["properties"].get("type", {})]


def _covers(read: Any, written: Any) -> bool:
    """Return whether everything that was written is in what was read; further fields may have come."""
    if isinstance(written, dict):
        return all(name in read and _covers(read[name], value) for name, value in written.items())
    if isinstance(written, list):
        return len(read) == len(written) and all(map(_covers, read, written))
    return read == written


def test_every_type_of_event_is_in_the_corpus() -> None:
    known = {each.__struct_config__.tag for each in AnyEvent.__args__}
    assert known == {json.loads(each)["type"] for each in current()["events"]}
