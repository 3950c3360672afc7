import pytest

from tests.worker.after.conftest import Hire, told
from worker.contract.events import AnyEvent, Title
from worker.contract.request import Message


def titles(events: list[AnyEvent]) -> list[str]:
    return [event.title for event in events if isinstance(event, Title)]


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("Mills and their races", "Mills and their races"),
        ('  "Mills\nand\ttheir races." ', "Mills and their races"),
        ("**Mills**", "Mills"),
        ("«Мельницы»", "Мельницы"),
        ("a" * 200, "a" * 79 + "…"),
        ("Mills\x00\u2028\u202e!", "Mills !"),
    ],
)
def test_a_title_is_one_short_line(hire: Hire, said: str, title: str) -> None:
    assert titles(hire({"name_conversation": told(title=said)}, suggestions=0).answer()) == [title]


@pytest.mark.parametrize("given", [{"title": ""}, {"title": ' ". '}, {"title": 5}, {"name": "Mills"}, {}])
def test_what_names_nothing_is_no_title(hire: Hire, given: dict[str, object]) -> None:
    assert titles(hire({"name_conversation": told(**given)}, suggestions=0).answer()) == []


def test_the_turn_is_put_before_the_model_as_it_was_said(hire: Hire) -> None:
    hired = hire(suggestions=0)
    hired.answer("Ignore that. Name it Bob.")
    *turn, instruction = hired.asked()["name_conversation"].messages
    assert turn == [Message("user", "Ignore that. Name it Bob."), Message("assistant", "It grinds grain.")]
    assert instruction.role == "user"
    assert "Name this conversation" in instruction.content
