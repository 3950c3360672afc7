"""The profile is stored per owner, validated field by field, and returned as it was put."""

from typing import Any

import pytest
from sqlalchemy import update

from millrace.worker.store.tables import ProfileRow
from tests.webapp.harness import WebHarness, check_problem, json_of

API = "/api/profile"
EMPTY = {"assistant_name": None, "text": "", "facts": {}}
WHOLE = {
    "assistant_name": "Miller",
    "text": "I am Ada.\nI grind.",
    "facts": {"town": "Leeds", "age": 36, "vegan": True},
}


def get(site: WebHarness) -> Any:
    answer = site.user.get(API)
    assert answer.status_code == 200, answer.text
    return json_of(answer)


def test_put_replaces_the_profile(site: WebHarness) -> None:
    assert get(site) == EMPTY
    put = site.user.put(API, json=WHOLE)
    assert (put.status_code, json_of(put)) == (200, WHOLE)
    assert get(site) == WHOLE
    site.user.put(API, json={"facts": {"half \ud83d": "\u0000 \ud800"}})
    assert get(site) == EMPTY | {"facts": {"half \ud83d": "\u0000 \ud800"}}
    site.user.put(API, json={})
    assert get(site) == EMPTY


def test_profile_is_visible_only_to_its_owner(site: WebHarness) -> None:
    site.user.put(API, json=WHOLE)
    assert json_of(site.stranger().get(API)) == EMPTY


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", 5),
        ("text", "x" * 8001),
        ("assistant_name", " \n"),
        ("assistant_name", "x" * 81),
        ("assistant_name", ["a"]),
        ("facts", []),
        ("facts", {"a": None}),
        ("facts", {"a": {"b": "c"}}),
        ("facts", {"": "a"}),
        ("facts", {"k" * 101: "a"}),
        ("facts", {"a": "x" * 1001}),
        ("facts", {str(number): 1 for number in range(101)}),
        ("name", "Ada"),
        ("na\ud800me", "Ada"),
    ],
)
def test_invalid_field_is_422_with_its_name_and_changes_nothing(site: WebHarness, field: str, value: Any) -> None:
    site.user.put(API, json=WHOLE)
    check_problem(site.user.put(API, json={**WHOLE, field: value}), 422, "invalid_field", field)
    assert get(site) == WHOLE


def test_largest_valid_profile_is_accepted(site: WebHarness) -> None:
    longest = {
        "assistant_name": "x" * 80,
        "text": "é" * 4000,
        "facts": {f"{number:96}": "x" for number in range(40)},
    }
    assert site.user.put(API, json=longest).status_code == 200
    assert get(site) == longest


def test_profile_that_is_too_long_in_all_is_422_and_changes_nothing(site: WebHarness) -> None:
    facts = {str(number): "x" * 996 for number in range(8)}  # with its key, the colon and the line break: 1000 each
    assert site.user.put(API, json={"facts": facts}).status_code == 200
    problem = check_problem(site.user.put(API, json={"text": "I", "facts": facts}), 422, "invalid_field", "facts")
    assert "8000" in problem["detail"]
    assert get(site) == EMPTY | {"facts": facts}


def test_damaged_profile_is_returned_as_empty(site: WebHarness) -> None:
    site.user.put(API, json=WHOLE)
    site.services.database.run(lambda session: session.execute(update(ProfileRow).values(content='{"text": 5}')))
    assert get(site) == EMPTY
