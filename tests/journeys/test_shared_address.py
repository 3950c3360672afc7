"""Thirty users behind one address, with default settings, who all reload their pages."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.client import Client, emulate, text_of
from tests.system import ANY_ADDRESS_VARIABLES, System

PEOPLE, RELOADS = 30, 3
TEXT = "Everybody is answered. " * 20


@pytest.fixture
def people(tmp_path: Path) -> Iterator[list[Client]]:
    with System(tmp_path, **dict.fromkeys(ANY_ADDRESS_VARIABLES, "")) as system, ExitStack() as stack:
        yield [stack.enter_context(Client(system.url)) for _ in range(PEOPLE)]


def use(client: Client) -> list[httpx.Response]:
    """Open the page, ask, and reload while the answer streams; return every answer to it, and check what was read."""
    answers = [client.http.get("/"), client.post({"message": emulate(text=TEXT, tokens=40, rate=20)})]
    generation = answers[1].json()["id"]
    for _ in range(RELOADS):
        answers += [client.http.get(path) for path in ("/", "/static/page.js", f"/api/generations/{generation}")]
        reader = client.follow(generation)
        next(reader)
        reader.close()  # type: ignore[attr-defined]
    assert text_of(client.whole(generation)) == TEXT
    return answers


def test_thirty_users_behind_one_address_reload_three_times_without_a_rejection(people: list[Client]) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        answers = [answer for each in pool.map(use, people) for answer in each]
    assert len(answers) == PEOPLE * (2 + 3 * RELOADS)
    assert {answer.status_code for answer in answers} == {200, 202}
    counted = [answer for answer in answers if answer.status_code == 202]
    assert {answer.headers["RateLimit-Limit"] for answer in counted} == {"60"}, "the limits were on"
