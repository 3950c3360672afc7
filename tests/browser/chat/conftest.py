"""Conversations that exist before the page is opened."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.client import emulate
from tests.system import System


@pytest.fixture
def system_with_turns(page: Page, system: System) -> Callable[[int], str]:
    """Make a conversation of some turns, each higher than the page; returns its address."""

    def make(count: int) -> str:
        fields: dict[str, str | bool] = {"stream": False}
        for number in range(count):
            text = "".join(f"Paragraph {line} of {number}.\n\n" for line in range(40))
            made = page.request.post(
                f"{system.url}/api/generations", data={"message": emulate(text=text, rate=0), **fields}
            )
            assert made.ok, made.text()
            fields["conversation_id"] = made.json()["conversation_id"]
        return f"{system.url}/#{fields['conversation_id']}"

    return make
