from typing import Any

import pytest

from millrace.webapp.facades.openai.responses.views import ECHO, ResponseEnding, describe, response_of
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.request import RequestSummary
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript, fold
from tests.webapp.facades.openai.responses.logs import GENERATION, QUEUED

STATE = GenerationState(GENERATION, "o", "c", "m", "running", 1, Cursor(1, 1), False, "continue", 1_700_000_000_999)


def test_description_shows_the_parameters_of_the_request() -> None:
    summary = RequestSummary("fast", {"a": "b"}, {ECHO: {"instructions": "Be brief.", "background": True}})
    response = describe(STATE, summary).response(ResponseEnding("queued"))
    assert (response.id, response.created_at, response.model) == (f"resp_{GENERATION}", 1_700_000_000, "fast")
    assert (response.metadata, response.instructions, response.background) == ({"a": "b"}, "Be brief.", True)


@pytest.mark.parametrize("echo", [None, {}, {ECHO: None}, {ECHO: {"background": "yes"}}, {"other": 1}])
def test_generation_of_another_protocol_is_a_response_with_defaults(echo: Any) -> None:
    response = response_of(STATE, RequestSummary("fast", None, echo), fold([QUEUED, Chunk("Hi")]))
    assert (response.instructions, response.store, response.background) == (None, True, False)
    assert response.status == "in_progress"


def test_expired_request_leaves_the_model_that_answered() -> None:
    transcript = Transcript(model="strong")
    assert response_of(STATE, None, transcript).model == "strong"
    assert response_of(STATE, None, Transcript()).model == ""
