"""Random bodies, headers and cursors are accepted or rejected with a 4xx, never a 5xx."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.webapp.generation.validation import GenerationFields
from tests.webapp.harness import WebHarness, json_of

CREATING = ["/api/generations", "/api/chat", "/api/conversation-stream/me"]
OTHERS = ["history", "session_id", "id", "trigger", "messageId", "unknown"]

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.characters(categories=["Cs"]))
JSON = st.recursive(LEAVES, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=20)
TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "x"]), "content": st.text()}))
PARTS = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "file", "x"])}, optional={"text": JSON}))
CHAT = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "parts": PARTS}))
NAMES = st.sampled_from([*GenerationFields.__struct_fields__, *OTHERS])
BODIES = st.dictionaries(NAMES, JSON | TURNS | CHAT, max_size=4)
ALMOST = st.builds(lambda body, message: {**body, "message": message}, BODIES, st.text(min_size=1, max_size=20))
ALMOST_CHAT = st.builds(lambda body, chat: {**body, "id": "chat", "messages": chat}, BODIES, CHAT)


@pytest.mark.parametrize("path", CREATING)
@settings(max_examples=60)
@given(body=JSON | BODIES | ALMOST | ALMOST_CHAT)
def test_random_json_is_accepted_or_rejected_with_its_field(site: WebHarness, path: str, body: Any) -> None:
    site.owner()
    answer = site.user.post(path, data=json.dumps(body), content_type="application/json")
    assert answer.status_code in (200, 202, 400, 403, 404, 409, 422), answer.text
    if answer.status_code == 422 and answer.mimetype == "text/plain":
        assert ": " in answer.text
        assert len(answer.text) < 1000
    elif answer.status_code == 422:
        assert isinstance(json_of(answer)["field"], str)
        assert len(json_of(answer)["detail"]) < 1000
    answer.close()


@settings(max_examples=60)
@given(body=st.binary(max_size=300), kind=st.sampled_from(["application/json", "application/json; charset=x", "x", ""]))
def test_random_bytes_cause_no_server_error(site: WebHarness, body: bytes, kind: str) -> None:
    answer = site.user.post("/api/generations", data=body, headers={"Content-Type": kind})
    assert answer.status_code in (202, 400, 415, 422), answer.text


HEADERS = st.sampled_from(["Cookie", "Origin", "Accept", "Idempotency-Key", "Last-Event-ID", "Sec-Fetch-Site", "Range"])
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@settings(max_examples=60)
@given(headers=st.dictionaries(HEADERS, HEADER_VALUES), after=st.text(max_size=20))
def test_random_headers_and_cursors_cause_no_server_error(
    site: WebHarness, headers: dict[str, str], after: str
) -> None:
    bare = site.app.test_client(use_cookies=False)
    for answer in (
        bare.post("/api/generations", json={"message": "a"}, headers=headers),
        bare.get(f"/api/generations/{'0' * 32}/events", query_string={"after": after}, headers=headers),
        bare.get("/api/events", query_string={"follow": after}, headers=headers),
    ):
        assert answer.status_code < 500, answer.text
        answer.close()
