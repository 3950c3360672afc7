"""Errors of OpenAI and of servers with its API, in a response and within a stream."""

import json
from typing import Any, get_args

from openai.types.responses.response_error import ResponseError

from millrace.worker.providers.openai.errors import FeatureRefused, map_rejection, map_stream_error
from millrace.worker.providers.transport.errors import Rejection


def rejected(status: int, error: Any, **headers: str) -> Any:
    rejection = Rejection(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(error).encode()
    )
    return map_rejection(rejection) or rejection.to_error()


def error(message: str = "no", code: Any = None, kind: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


AZURE_FILTER = {"error": {"message": "no", "code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}
FLAGGED = {"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}}
VLLM_TOO_LONG = {"object": "error", "message": "This model's maximum context length is 9 tokens.", "code": 400}


def test_each_rejection_has_its_code() -> None:
    cases: list[tuple[int, Any, str, bool]] = [
        (400, error("no", "invalid_value"), "provider_rejected", False),
        (400, error("no", "context_length_exceeded"), "context_too_long", False),
        (400, error("no", 400, "exceed_context_size_error"), "context_too_long", False),
        (400, VLLM_TOO_LONG, "context_too_long", False),
        (413, error("no", None, "server_error"), "context_too_long", False),
        (400, error("no", "content_filter"), "content_filtered", False),
        (400, error("no", "invalid_prompt"), "content_filtered", False),
        (400, AZURE_FILTER, "content_filtered", False),
        (403, FLAGGED, "content_filtered", False),
        (401, error("no", "invalid_api_key"), "provider_authentication", False),
        (402, error("no"), "provider_authentication", False),
        (403, error("no"), "provider_authentication", False),
        (404, error("no", "model_not_found"), "provider_rejected", False),
        (404, {"error": "model 'x' not found, try pulling it first"}, "provider_rejected", False),
        (413, error("Request too large for tokens per minute", "rate_limit_exceeded"), "provider_throttled", True),
        (429, error("no", "rate_limit_exceeded", "requests"), "provider_throttled", True),
        (429, error("no", "insufficient_quota", "insufficient_quota"), "provider_authentication", False),
        (429, {}, "provider_throttled", True),
        (500, error("no", None, "server_error"), "provider_unavailable", True),
        (503, "overloaded", "provider_unavailable", True),
        (529, None, "provider_unavailable", True),
        (504, None, "provider_timeout", False),
    ]
    for status, body, code, is_transient in cases:
        found = rejected(status, body)
        assert (found.code, found.is_transient) == (code, is_transient), (status, body)
    assert rejected(429, error("no", "rate_limit_exceeded"), Retry_After="3").retry_after == 3


def test_a_rejection_names_the_feature_that_it_refuses() -> None:
    cases: list[tuple[Any, str, bool]] = [
        (error("Unrecognized request argument supplied: stream_options"), "usage", True),
        ({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, "usage", True),
        (
            error(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                "instead.",
                "unsupported_parameter",
                "invalid_request_error",
                "max_tokens",
            ),
            "max_tokens",
            True,
        ),
        (error("Unknown parameter: max_completion_tokens"), "max_completion_tokens", True),
        (error("property 'max_completion_tokens' is unsupported, use max_tokens"), "max_completion_tokens", True),
        (error("Unsupported parameter: 'stop' is not supported with this model.", param="stop"), "stop", True),
        (error("Too many stop sequences"), "stop", False),
        (error("Invalid schema for response_format 'answer'", param="response_format"), "schema", False),
        (error("'response_format' of type 'json_schema' is not supported with this model."), "schema", True),
        (error("This model does not support tool_choice"), "forced_tool", True),
        (error("registry.ollama.ai/library/x does not support tools"), "forced_tool", True),
    ]
    for body, feature, is_general in cases:
        found = rejected(400, body)
        assert isinstance(found, FeatureRefused), body
        assert (found.feature, found.is_general) == (feature, is_general), body


def test_other_rejections_name_no_feature() -> None:
    for body in (
        error("max_tokens is too large: 200000. This model supports at most 4096 tokens.", param="max_tokens"),
        error("Invalid value: 'scripted'.", param="messages"),
        error("Unsupported value: 'temperature' does not support 0.7 with this model.", param="temperature"),
    ):
        found = rejected(400, body)
        assert not isinstance(found, FeatureRefused), body
        assert found.code == "provider_rejected", body
    refusal = rejected(400, error("Your organization must be verified to stream this model.", param="stream"))
    assert refusal.refuses_streaming
    assert not isinstance(refusal, FeatureRefused)


def test_every_code_of_the_sdk_is_known_but_those_of_images_in_a_question() -> None:
    codes = get_args(ResponseError.model_fields["code"].annotation)
    unknown = {each for each in codes if map_stream_error({"code": each, "status": 418}).code == "provider_rejected"}
    assert all("image" in each for each in unknown - {"data_residency_mismatch"}), unknown
    for code in ("bio_policy", "misalignment_policy_violation", "image_content_policy_violation"):
        assert map_stream_error({"code": code}).code == "content_filtered", "no other candidate is asked"
    assert map_stream_error({"code": "credit_balance_exhausted"}).code == "provider_authentication"


def test_each_error_within_a_stream_has_its_code() -> None:
    cases: list[tuple[dict[str, Any], str, bool]] = [
        ({}, "provider_unavailable", True),
        ({"message": None, "code": [], "type": {}}, "provider_unavailable", True),
        ({"message": "no", "type": "server_error"}, "provider_unavailable", True),
        ({"message": "no", "code": 502}, "provider_unavailable", True),
        ({"message": "no", "code": "429"}, "provider_throttled", True),
        ({"message": "no", "code": "rate_limit_exceeded"}, "provider_throttled", True),
        ({"message": "no", "type": "invalid_request_error"}, "provider_rejected", False),
        ({"message": "prompt is too long", "type": "invalid_request_error"}, "context_too_long", False),
        ({"message": "prompt is too long", "type": "BadRequestError", "code": 400}, "context_too_long", False),
        ({"message": "no", "code": 401}, "provider_authentication", False),
        ({"message": "no", "code": "content_filter"}, "content_filtered", False),
        ({"message": "no", "code": "context_length_exceeded"}, "context_too_long", False),
    ]
    for body, code, is_transient in cases:
        found = map_stream_error(body)
        assert (found.code, found.is_transient) == (code, is_transient), body
