"""The grid of faults and wires: how each fault is scripted, and how an answer ends by it on every wire."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

TEXT = "0123456789"
WHOLE, EMPTY, TRUNCATED = "whole", "empty", "truncated"
HEADERS_SENT, HAS_TEXT = "headers are sent", "it has text"
RULED_OUT = (HEADERS_SENT, HAS_TEXT)
"""The reasons why a fault cannot strike after a delta: they stand in the place of an end."""

_UNAVAILABLE, _REJECTED, _TOO_LONG = "provider_unavailable", "provider_rejected", "context_too_long"
_SIGN_IN, _THROTTLED = "provider_authentication", "provider_throttled"
_LATE, _FILTERED = "provider_timeout", "content_filtered"

Ends = tuple[str, str]
"""How an answer ends if the fault strikes before its first delta, and if it strikes after two.

An end is the error's code, with the seconds to wait if the service has named them; `whole`; `empty`, whole but without
text; or `truncated`, a stream without `Stopped`. The router's ends, with another candidate left, may also be `CODE,
next`, or `in chunks` for a whole answer in place of a stream.
"""
Script = Callable[[str, int], Mapping[str, Any]]
"""The keys of the directive, for a wire and a number of deltas before the fault."""


@dataclass(frozen=True)
class Row:
    """A fault. `but` has the ends of single wires, or of all whose name begins so before the first hyphen.

    `adds` is the text that follows the deltas before the fault.
    """

    script: Script
    ends: Ends
    router: Ends
    but: Mapping[str, Ends] = field(default_factory=dict[str, Ends])
    adds: Callable[[str, int], str] = lambda _wire, _at: ""

    def ends_of(self, column: str) -> Ends:
        """Return the ends on a wire, or at the router."""
        return self.router if column == "router" else _find(self.but, column) or self.ends


def _find(values: Mapping[str, Any], wire: str) -> Any:
    return values.get(wire) or values.get(wire.partition("-")[0])


def _strike(name: str, **more: Any) -> Script:
    return lambda _wire, at: {"text": TEXT, "tokens": len(TEXT), "fault": name, "at": at, **more}


def _raise(fault: Mapping[str, Any]) -> Script:
    return lambda _wire, at: {"text": TEXT, "tokens": len(TEXT), "fault": fault, "at": at}


def _stop(other: Mapping[str, Any], **scripts: Mapping[str, Any] | Script) -> Script:
    """Return the script of an answer that ends by itself after the deltas, in a way of each wire's own."""

    def script(wire: str, at: int) -> Mapping[str, Any]:
        own: Any = _find({name.replace("_", "-"): value for name, value in scripts.items()}, wire) or other
        if callable(own):
            return cast("Script", own)(wire, at)
        return {"deltas": [*TEXT[:at]], **own}

    return script


def _error(script: Script, code: str, but: Mapping[str, Ends] | None = None) -> Row:
    """Return the row of an error that has the same code as a response and within a stream."""
    return Row(script, (code, code), (f"{code}, next", code), but or {})


def _refuse_in_chat(_wire: str, at: int) -> Mapping[str, Any]:
    deltas = [*({"content": piece} for piece in TEXT[:at]), {"refusal": "No."}]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return {"events": [*({"data": event} for event in (*events, end)), {"raw": "data: [DONE]\n\n"}]}


def _refuse_in_response(_wire: str, at: int) -> Mapping[str, Any]:
    texts = [("response.output_text.delta", piece) for piece in TEXT[:at]]
    deltas = [{"type": kind, "delta": text} for kind, text in (*texts, ("response.refusal.delta", "No."))]
    end = {"type": "response.completed", "response": {"status": "completed", "output": []}}
    return {"events": [{"data": event} for event in (*deltas, end)]}


def _brand_new(kind: str) -> dict[str, Any]:
    """Return an error of a name that no one knows: of an exception, of a type, of a code and of a status."""
    error = {"type": "brand_new_error", "code": "brand_new", "status": "BRAND_NEW", "message": "This is new."}
    body = {"type": "error", "error": error}
    return {"status": 599, "code": "BrandNewException", "body": body, "kind": kind, "in_stream": True}


_OF_RLM = {"rlm": (_REJECTED, _UNAVAILABLE)}
"""Within a stream, the upstream service's errors have no code: only words of a prompt that is too long tell more."""

GRID: dict[str, Row] = {
    "throttle": _error(_strike("throttle"), _THROTTLED, {"rlm": (_THROTTLED, _UNAVAILABLE)}),
    # Within a stream there is no header to say it, but Google says it in the error's details.
    "throttle, try in 7 s": Row(
        _strike("throttle", retry_after=7),
        (f"{_THROTTLED}, 7 s", _THROTTLED),
        (f"{_THROTTLED}, next", _THROTTLED),
        {"gemini": (f"{_THROTTLED}, 7 s", f"{_THROTTLED}, 7 s"), "rlm": (f"{_THROTTLED}, 7 s", _UNAVAILABLE)},
    ),
    "validation": _error(_strike("validation"), _REJECTED, _OF_RLM),
    "unavailable": _error(_strike("unavailable"), _UNAVAILABLE),
    "unavailable, try in 7 s": Row(
        _strike("unavailable", retry_after=7),
        (f"{_UNAVAILABLE}, 7 s", _UNAVAILABLE),
        (f"{_UNAVAILABLE}, next", _UNAVAILABLE),
        {"gemini": (f"{_UNAVAILABLE}, 7 s", f"{_UNAVAILABLE}, 7 s")},
    ),
    "server_error": _error(_strike("server_error"), _UNAVAILABLE),
    "stream_error": _error(_strike("stream_error"), _UNAVAILABLE),
    "unknown exception": _error(_raise(_brand_new("exception")), _UNAVAILABLE),
    "unknown error": _error(_raise(_brand_new("error")), _UNAVAILABLE),
    "authentication": _error(_strike("authentication"), _SIGN_IN, {"rlm": (_SIGN_IN, _UNAVAILABLE)}),
    "expired": _error(_strike("expired"), _SIGN_IN, {"rlm": (_SIGN_IN, _UNAVAILABLE)}),
    # At Bedrock a limit, and not money.
    "quota": _error(_strike("quota"), _SIGN_IN, {"rlm": (_SIGN_IN, _UNAVAILABLE), "bedrock": (_THROTTLED, _THROTTLED)}),
    "no_model": _error(_strike("no_model"), _REJECTED, _OF_RLM),
    "no_streaming": Row(
        _strike("no_streaming"),
        (f"{_REJECTED}, not streamed", _REJECTED),
        ("in chunks", _REJECTED),
        {"rlm": (f"{_REJECTED}, not streamed", _UNAVAILABLE)},
    ),
    "input_too_long": _error(_strike("input_too_long"), _TOO_LONG),
    "prompt_too_long": _error(_strike("prompt_too_long"), _TOO_LONG),
    "over_context_limit": _error(_strike("over_context_limit"), _TOO_LONG),
    "too_many_tokens": _error(_strike("too_many_tokens"), _TOO_LONG),
    "too_many_bytes": _error(_strike("too_many_bytes"), _TOO_LONG),
    # Within a stream, OpenAI and Bedrock have no word for it.
    "too_large": Row(
        _strike("too_large"),
        (_TOO_LONG, _TOO_LONG),
        (f"{_TOO_LONG}, next", _UNAVAILABLE),
        {"bedrock": (_TOO_LONG, _UNAVAILABLE), "openai": (_TOO_LONG, _UNAVAILABLE)},
    ),
    # The upstream service has no word for it.
    "blocked_prompt": Row(
        _stop(
            {},
            bedrock={"stop_reason": "guardrail_intervened"},
            anthropic=_strike("blocked_prompt"),
            openai=_strike("blocked_prompt"),
            gemini=lambda _wire, at: {
                "events": [
                    *({"data": {"candidates": [{"content": {"parts": [{"text": piece}]}}]}} for piece in TEXT[:at]),
                    {"data": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}},
                ]
            },
            rlm=_strike("blocked_prompt"),
        ),
        (_FILTERED, _FILTERED),
        (_FILTERED, _FILTERED),
        _OF_RLM,
    ),
    "filtered answer": Row(
        _stop({"stop_reason": "content_filtered"}, rlm=_strike("blocked_prompt")),
        (_FILTERED, _FILTERED),
        (_FILTERED, _FILTERED),
        _OF_RLM,
    ),
    "refusal": Row(
        _stop(
            {"finish_reason": "refusal"},
            bedrock={"stop_reason": "content_filtered"},
            openai_chat=_refuse_in_chat,
            openai_responses=_refuse_in_response,
            gemini={"finish_reason": "LANGUAGE"},
            rlm=_strike("blocked_prompt"),
        ),
        (_FILTERED, _FILTERED),
        (_FILTERED, _FILTERED),
        _OF_RLM,
        adds=lambda wire, _at: "No." if wire.startswith("openai") else "",
    ),
    "empty answer": Row(_stop({}), (EMPTY, HAS_TEXT), ("empty_answer, next", HAS_TEXT), {"rlm": (_REJECTED, HAS_TEXT)}),
    # A reader has seen the answer begin, so that no other candidate is asked.
    "only reasoning": Row(
        _stop({"reasoning": "Hm."}, rlm={"events": [{"data": {"thought": "Hm."}}, {"data": {"done": True}}]}),
        (EMPTY, HAS_TEXT),
        (EMPTY, HAS_TEXT),
        {"rlm": (_REJECTED, HAS_TEXT)},
    ),
    "stall_headers": Row(_strike("stall_headers"), (_LATE, HEADERS_SENT), (f"{_LATE}, next", HEADERS_SENT)),
    "stall": _error(_strike("stall"), _LATE),
    "disconnect": _error(_strike("disconnect"), _UNAVAILABLE),
    # The proper end of the upstream service's response is enough.
    "no_stop": _error(_strike("no_stop"), TRUNCATED, {"rlm": (_REJECTED, WHOLE)}),
    # The last event of OpenAI's responses has the stop reason; Gemini's streams have no mark behind it.
    "no_end": Row(
        _strike("no_end"),
        (WHOLE, WHOLE),
        (WHOLE, WHOLE),
        {"openai-responses": (TRUNCATED, TRUNCATED)},
        adds=lambda _wire, at: TEXT[at:],
    ),
    # Only Bedrock's messages have a checksum.
    "corrupt": _error(_strike("corrupt"), _REJECTED, {"bedrock": (_UNAVAILABLE, _UNAVAILABLE)}),
    "malformed_json": _error(_strike("malformed_json"), _REJECTED),
    # Within a stream, a page is lines that mean nothing, but no message of Bedrock's.
    "html": Row(
        _strike("html"),
        (_UNAVAILABLE, TRUNCATED),
        (f"{_UNAVAILABLE}, next", TRUNCATED),
        {"bedrock": (_UNAVAILABLE, _UNAVAILABLE)},
    ),
    "proxy_error": _error(_strike("proxy_error"), _UNAVAILABLE),
}
