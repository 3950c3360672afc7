"""The arguments of Converse: roles alternate, cache points stand where they pay, unset parameters are not sent."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.bedrock.arguments import CACHE_POINT, build_arguments
from millrace.worker.providers.protocol import Prompt, Tool

QUESTION = PromptMessage("user", "Why?")
HISTORY = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."))


def test_unset_parameters_are_not_sent() -> None:
    assert build_arguments(Prompt("m", (QUESTION,), 9), is_cached=True) == {
        "modelId": "m",
        "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
        "inferenceConfig": {"maxTokens": 9},
    }
    full = build_arguments(Prompt("m", (QUESTION,), 9, ("Be kind.",), 0.0, 0.5, ("END",)), is_cached=False)
    assert full["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]}
    assert full["system"] == [{"text": "Be kind."}]


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=8))
def test_consecutive_messages_of_one_role_become_one_message_of_ordered_blocks(roles: list[str]) -> None:
    messages = tuple(PromptMessage(role, str(number)) for number, role in enumerate(["user", *roles, "user"]))  # pyright: ignore[reportArgumentType]
    sent = build_arguments(Prompt("m", messages, 9), is_cached=False)["messages"]
    assert [message["role"] for message in sent[::2]] == ["user"] * len(sent[::2])
    assert [message["role"] for message in sent[1::2]] == ["assistant"] * len(sent[1::2])
    blocks = [block["text"] for message in sent for block in message["content"]]
    assert blocks == [message.content for message in messages]


def test_cache_points_follow_the_configured_instructions_all_instructions_and_the_history() -> None:
    prompt = Prompt(
        "m", (*HISTORY, PromptMessage("user", "material"), QUESTION), 9, ("configured", "profile", "request")
    )
    sent = build_arguments(prompt, is_cached=True)
    assert sent["system"] == [
        *({"text": "configured"}, CACHE_POINT),
        *({"text": "profile"}, {"text": "request"}, CACHE_POINT),
    ]
    assert [message["content"] for message in sent["messages"]] == [
        [{"text": "One?"}],
        [{"text": "Two."}, CACHE_POINT],
        [{"text": "material"}, {"text": "Why?"}],
    ]


def test_a_prefill_does_not_move_the_cache_point() -> None:
    sent = build_arguments(
        Prompt("m", (*HISTORY, QUESTION, PromptMessage("assistant", "So")), 9, ("only",)), is_cached=True
    )
    assert sent["system"] == [{"text": "only"}, CACHE_POINT]
    places = [number for number, message in enumerate(sent["messages"]) if CACHE_POINT in message["content"]]
    assert places == [1]


def test_a_first_turn_and_a_question_with_a_tool_have_no_cache_point() -> None:
    tool = Tool("note", "Notes.", {"type": "object"})
    first = build_arguments(Prompt("m", (PromptMessage("user", "material"), QUESTION), 9), is_cached=True)
    small = build_arguments(Prompt("m", (*HISTORY, QUESTION), 9, ("configured",), tool=tool), is_cached=True)
    for sent in (first, small):
        assert "cachePoint" not in str(sent)
    assert small["toolConfig"]["toolChoice"] == {"tool": {"name": "note"}}
