"""The operator's own arguments are those of botocore's model, and are checked at the start."""

import json
from typing import Any

import pytest
from botocore.session import Session

from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import SettingError
from millrace.worker.providers.bedrock.arguments import build_arguments
from millrace.worker.providers.bedrock.request import OWN_ARGUMENTS, checked_request
from millrace.worker.providers.protocol import Prompt, Tool

QUESTION = PromptMessage("user", "Why?")
TOOL = Tool("note", "Notes.", {"type": "object"})


def test_every_argument_of_the_service_is_made_here_or_may_be_given_by_the_operator() -> None:
    """A member that a newer service model adds is settable at once: `request.py` allows all but ours."""
    client: Any = Session().create_client("bedrock-runtime", region_name="us-east-1")
    members = client.meta.service_model.operation_model("ConverseStream").input_shape.members
    prompt = Prompt("m", (QUESTION,), 9, ("s",), tool=TOOL, metadata={"a": "b"})
    made = {
        *build_arguments(prompt, "forced_tool"),
        *build_arguments(Prompt("m", (QUESTION,), 9, schema={}), "output_format"),
    }
    assert {*OWN_ARGUMENTS} <= made <= {*members}
    given = {name: value for name, value in GIVEN.items() if name not in OWN_ARGUMENTS}
    assert {*OWN_ARGUMENTS, *given} == {*members}, "a new argument: give an example of it below"
    assert checked_request(client, json.dumps(given)) == given


GIVEN: dict[str, Any] = {
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "streamProcessingMode": "async"},
    "additionalModelRequestFields": {"top_k": 5},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "promptVariables": {"name": {"text": "value"}},
    "requestMetadata": {"team": "mill"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "flex"},
    "outputConfig": {"effort": "low"},
    "projectIdentifier": "mill",
}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"modelId": "m"}, "not modelId"),
        ({"guardrail": {}}, "not guardrail"),
        ({"serviceTier": "flex"}, "serviceTier: .*Invalid type"),
        ({"guardrailConfig": {"mode": "sync"}}, "guardrailConfig: .*mode"),
        ({"serviceTier": {"type": "fast"}}, "serviceTier.type: takes one of .*flex"),
        ({"guardrailConfig": {"streamProcessingMode": "a"}}, "guardrailConfig.streamProcessingMode: .*sync, async"),
        ({"additionalModelRequestFields": [5]}, "additionalModelRequestFields: takes an object"),
    ],
)
def test_a_wrong_argument_of_the_operator_stops_the_start_with_its_name(value: dict[str, Any], named: str) -> None:
    client = Session().create_client("bedrock-runtime", region_name="us-east-1")
    with pytest.raises(SettingError, match=f"MILLRACE_BEDROCK_REQUEST: .*{named}"):
        checked_request(client, json.dumps(value))
