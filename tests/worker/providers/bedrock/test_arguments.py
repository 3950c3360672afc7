"""From a prompt to Converse's arguments: roles that alternate, cache points where they pay, nothing that is not set."""

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.bedrock.arguments import CACHE_POINT, arguments_for
from millrace.worker.providers.protocol import Prompt, Tool

ASK = PromptMessage("user", "Why?")
TALK = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."))


def test_only_what_is_set_is_sent() -> None:
    assert arguments_for(Prompt("m", (ASK,), 9), caches=True) == {
        "modelId": "m",
        "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
        "inferenceConfig": {"maxTokens": 9},
    }
    full = arguments_for(Prompt("m", (ASK,), 9, ("Be kind.",), 0.0, 0.5, ("END",)), caches=False)
    assert full["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]}
    assert full["system"] == [{"text": "Be kind."}]


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=8))
def test_neighbours_of_one_role_are_one_message_whose_blocks_keep_their_order(roles: list[str]) -> None:
    messages = tuple(PromptMessage(role, str(number)) for number, role in enumerate(["user", *roles, "user"]))  # pyright: ignore[reportArgumentType]
    sent = arguments_for(Prompt("m", messages, 9), caches=False)["messages"]
    assert [message["role"] for message in sent[::2]] == ["user"] * len(sent[::2])
    assert [message["role"] for message in sent[1::2]] == ["assistant"] * len(sent[1::2])
    blocks = [block["text"] for message in sent for block in message["content"]]
    assert blocks == [message.content for message in messages]


def test_what_stays_the_same_for_all_for_this_user_and_for_the_next_turn_is_remembered() -> None:
    prompt = Prompt("m", (*TALK, PromptMessage("user", "material"), ASK), 9, ("configured", "profile", "request"))
    sent = arguments_for(prompt, caches=True)
    assert sent["system"] == [
        *({"text": "configured"}, CACHE_POINT),
        *({"text": "profile"}, {"text": "request"}, CACHE_POINT),
    ]
    assert [message["content"] for message in sent["messages"]] == [
        [{"text": "One?"}],
        [{"text": "Two."}, CACHE_POINT],
        [{"text": "material"}, {"text": "Why?"}],
    ]


def test_a_beginning_of_the_answer_moves_no_cache_point() -> None:
    sent = arguments_for(Prompt("m", (*TALK, ASK, PromptMessage("assistant", "So")), 9, ("only",)), caches=True)
    assert sent["system"] == [{"text": "only"}, CACHE_POINT]
    places = [number for number, message in enumerate(sent["messages"]) if CACHE_POINT in message["content"]]
    assert places == [1]


def test_nothing_is_remembered_of_a_first_turn_or_of_a_small_question_with_a_tool() -> None:
    tool = Tool("note", "Notes.", {"type": "object"})
    first = arguments_for(Prompt("m", (PromptMessage("user", "material"), ASK), 9), caches=True)
    small = arguments_for(Prompt("m", (*TALK, ASK), 9, ("configured",), tool=tool), caches=True)
    for sent in (first, small):
        assert "cachePoint" not in str(sent)
    assert small["toolConfig"]["toolChoice"] == {"tool": {"name": "note"}}
