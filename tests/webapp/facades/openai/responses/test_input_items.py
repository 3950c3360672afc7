import pytest

from millrace.webapp.facades.openai.responses.input_items import page_of
from millrace.webapp.facades.openai.responses.objects import InputItem, InputText
from millrace.webapp.problems import Problem

ITEMS = [InputItem(f"msg_{number}", "user", [InputText(str(number))]) for number in range(5)]


def test_pages_follow_each_other_in_both_orders() -> None:
    for is_ascending in (True, False):
        found: list[InputItem] = []
        after, has_more = None, True
        while has_more:
            page = page_of(ITEMS, 2, is_ascending, after)
            found += page.data
            after, has_more = page.last_id, page.has_more
            assert page.first_id == page.data[0].id
        assert found == (ITEMS if is_ascending else ITEMS[::-1])


def test_empty_input_is_an_empty_page() -> None:
    page = page_of([], 2, True, None)
    assert (page.data, page.first_id, page.last_id, page.has_more) == ([], None, None, False)


def test_unknown_place_is_an_error() -> None:
    with pytest.raises(Problem):
        page_of(ITEMS, 2, True, "msg_9")
