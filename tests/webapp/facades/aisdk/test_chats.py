from millrace.webapp.facades.aisdk.chats import hashed_conversation
from millrace.worker.contract.ids import is_id


def test_conversation_of_a_chat_is_the_same_each_time_and_another_for_each_owner_and_chat() -> None:
    found = [hashed_conversation(owner, chat) for owner in ("a", "b") for chat in ("a", "b", "", "\ud800", "日本")]
    assert len(set(found)) == len(found)
    assert all(map(is_id, found))
    assert found[0] == hashed_conversation("a", "a")
