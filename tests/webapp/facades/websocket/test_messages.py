"""The messages of a WebSocket: the client's id of its message, and the server's replies as JSON."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from millrace.webapp.facades.websocket.messages import Ended, Pong, rejected, take_request
from millrace.webapp.problems import Problem, invalid


@given(some.text(some.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128))
def test_any_printable_id_is_taken_out_of_the_message(name: str) -> None:
    body = {"type": "ping", "request": name}
    assert take_request(body) == name
    assert body == {"type": "ping"}


@pytest.mark.parametrize("absent", [None, ""])
def test_null_and_empty_ids_count_as_absent(absent: str | None) -> None:
    assert take_request({"request": absent}) is None
    assert take_request({}) is None


@pytest.mark.parametrize("name", ["x" * 129, "é", "a\n", 1, True, ["a"], {}, "\ud800"])
def test_other_ids_are_rejected(name: object) -> None:
    with pytest.raises(Problem) as problem:
        take_request({"request": name})
    assert (problem.value.status, problem.value.members) == (422, {"field": "request"})


def test_replies_leave_out_what_they_do_not_have() -> None:
    assert msgspec.to_builtins(Pong()) == {"type": "pong"}
    assert msgspec.to_builtins(Ended(generation="g", why="unfollowed", request="r")) == {
        "type": "ended",
        "generation": "g",
        "why": "unfollowed",
        "request": "r",
    }


def test_rejection_has_the_members_of_the_problem() -> None:
    busy = Problem(409, "conversation_busy", "Wait.", generation_id="g", other=1)
    assert msgspec.to_builtins(rejected(busy, "r")) == {
        "type": "rejected",
        "status": 409,
        "code": "conversation_busy",
        "detail": "Wait.",
        "generation": "g",
        "request": "r",
    }
    assert msgspec.to_builtins(rejected(invalid("f", "No."), None))["field"] == "f"
    assert msgspec.to_builtins(rejected(Problem(429, "c", "d", retry_after=7), None))["retry_after"] == 7
