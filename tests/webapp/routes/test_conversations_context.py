"""Only its owner reads and merges a conversation's JSON context."""

from typing import Any

import pytest

from millrace.worker.contract.ids import new_id
from millrace.worker.store.conversations import MAX_CONTEXT_CHARS, MAX_CONTEXT_DEPTH
from tests.webapp.harness import WebHarness, check_problem, json_of


@pytest.fixture
def path(site: WebHarness) -> str:
    made = json_of(site.user.post("/api/conversations", json={}))
    return f"/api/conversations/{made['id']}/context"


def merge(site: WebHarness, path: str, changes: Any) -> Any:
    answer = site.user.patch(path, json=changes)
    assert answer.status_code == 200, answer.text
    assert json_of(site.user.get(path)) == json_of(answer)
    return json_of(answer)


def test_changes_are_merged_and_null_removes_a_key(site: WebHarness, path: str) -> None:
    assert json_of(site.user.get(path)) == {}
    assert merge(site, path, {"to": "Tokyo", "when": "next week"}) == {"to": "Tokyo", "when": "next week"}
    assert merge(site, path, {"when": "Friday", "with": {"a": [1, None, "\ud800"]}}) == {
        "to": "Tokyo",
        "when": "Friday",
        "with": {"a": [1, None, "\ud800"]},
    }
    assert merge(site, path, {"to": None, "absent": None, "with": None}) == {"when": "Friday"}
    assert merge(site, path, {}) == {"when": "Friday"}


def test_context_is_unchanged_when_a_merge_would_make_it_too_large(site: WebHarness, path: str) -> None:
    half = "x" * (MAX_CONTEXT_CHARS // 2)
    merge(site, path, {"a": half})
    check_problem(site.user.patch(path, json={"b": half}), 413, "too_large")
    assert json_of(site.user.get(path)) == {"a": half}


def test_value_that_is_nested_too_deeply_is_422_with_its_key_and_changes_nothing(site: WebHarness, path: str) -> None:
    def nested(depth: int, kind: type) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value] if kind is list else {"a": value}
        return value

    for kind in (list, dict):
        merge(site, path, {"a": nested(MAX_CONTEXT_DEPTH - 1, kind)})
        for depth in (MAX_CONTEXT_DEPTH, 900):
            changes = {"b": 1, "deep": nested(depth, kind)}
            problem = check_problem(site.user.patch(path, json=changes), 422, "invalid_field", "deep")
            assert str(MAX_CONTEXT_DEPTH) in problem["detail"]
        assert json_of(site.user.get(path)) == {"a": nested(MAX_CONTEXT_DEPTH - 1, kind)}


def test_body_that_is_not_an_object_is_rejected(site: WebHarness, path: str) -> None:
    for body in ("[]", "5", "null", "{", '{"a": 1e400}', '{"a": NaN}'):
        check_problem(site.user.patch(path, data=body, content_type="application/json"), 400, "malformed")
    check_problem(site.user.patch(path, data="{}", content_type="text/plain"), 415, "unsupported_media_type")


def test_foreign_conversation_is_the_404_of_an_absent_one(site: WebHarness, path: str) -> None:
    stranger = site.stranger()
    site.owner(stranger)
    for where in (path, f"/api/conversations/{new_id()}/context", "/api/conversations/x/context"):
        check_problem(stranger.get(where), 404, "not_found")
        check_problem(stranger.patch(where, json={"a": 1}), 404, "not_found")
    assert json_of(site.user.get(path)) == {}
