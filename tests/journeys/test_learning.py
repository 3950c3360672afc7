"""A fact from one conversation is known in another, and to its user alone."""

from typing import Any

from tests.client import Client, emulate, wait_for

FACT = "The user's cat is called Miller."


def memories(client: Client) -> list[str]:
    """Return what is remembered of a user."""
    answer: dict[str, Any] = client.http.get("/api/memories").json()
    return [str(each["content"]) for each in answer["memories"]]


def remembered(client: Client, question: str) -> int:
    """Ask, and return how many memories the answer was built on."""
    received = client.whole(client.ask(question))
    return sum(int(each.event.get("memory", 0)) for each in received if each.event["type"] == "context")


def test_a_fact_learned_in_one_conversation_is_known_in_another_of_the_same_user_only(client: Client) -> None:
    learned = {"remember_facts": {"tool": {"input": {"facts": [FACT, FACT.upper()]}}}}
    client.whole(client.ask(emulate(text="A fine name.", forced=learned)))
    wait_for(lambda: memories(client) == [FACT], 40, "the fact to be learned")
    assert remembered(client, "What is my cat called?") == 1
    with Client(str(client.http.base_url)) as stranger:
        assert remembered(stranger, "What is my cat called?") == 0
        assert memories(stranger) == []


def test_a_scripted_answer_of_any_length_has_a_title_suggestions_and_learned_facts(client: Client) -> None:
    learned = {"remember_facts": {"tool": {"input": {"facts": [FACT]}}}}
    titled = {"name_conversation": {"tool": {"input": {"title": "A cat's name"}}}}
    received = client.whole(client.ask(emulate(text="A fine name. " * 700, chars=500, forced=learned | titled)))
    events = {each.event["type"]: each.event for each in received}
    assert events["title"]["title"] == "A cat's name"
    assert len(events["suggestions"]["suggestions"]) == 3
    wait_for(lambda: memories(client) == [FACT], 40, "the fact to be learned")


def test_facts_about_the_user_are_learned_without_a_scripted_reply(client: Client) -> None:
    client.whole(client.ask("My name is Ann. What is a mill?"))
    wait_for(lambda: memories(client) == ["My name is Ann."], 40, "the fact to be learned")
