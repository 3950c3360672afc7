"""The page for screen readers and keyboards: landmarks, names, live regions, the direction of texts."""

from playwright.sync_api import Page, expect

from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for

HEBREW = "\u05e9\u05dc\u05d5\u05dd"
TREE = f"""
- link "Skip to the question"
- banner:
  - button "Conversations" [expanded]
  - heading "Millrace" [level=1]
  - button "Keyboard shortcuts"
  - button "Settings"
- navigation "Conversations":
  - button "New conversation"
  - search:
    - searchbox "Search conversations"
  - heading "Today" [level=2]
  - list:
    - listitem:
      - link "{HEBREW}"
      - button "Actions for {HEBREW}"
- main:
  - heading "{HEBREW}" [level=2]
  - region "Messages":
    - article:
      - heading "Question" [level=2]
      - paragraph
      - button "Edit the question"
      - heading "Answer" [level=2]
      - paragraph: {HEBREW} 1
      - status: Complete
      - button "Copy as Markdown"
      - button "Try again"
      - button "Model, time and cost"
      - button "{HEBREW}?"
  - textbox "Your question"
  - status
  - button "Send"
  - alert
- region "Notices"
"""
DIRECTION = "each => getComputedStyle(each).direction"


def test_every_part_has_a_landmark_and_a_name_and_each_text_its_own_direction(page: Page) -> None:
    tools = {
        "name_conversation": {"tool": {"input": {"title": HEBREW}}},
        "suggest_questions": {"tool": {"input": {"suggestions": [f"{HEBREW}?"]}}},
    }
    ask(page, emulate(text=f"{HEBREW} 1", forced=tools))
    expect_state(page, "completed")
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator("body")).to_match_aria_snapshot(TREE)
    page.locator("#question").fill(HEBREW)
    for selector in ("#title", ".answer p", ".suggestions button", "#conversations a", "#question"):
        assert page.locator(selector).evaluate(DIRECTION) == "rtl", selector
    assert page.locator(".question").evaluate(DIRECTION) == "ltr"  # its first letter is Latin


def test_answer_is_busy_while_it_runs_and_not_a_live_region(page: Page) -> None:
    answer = page.locator(".answer")  # its sentences are announced by a region of their own, see chat/test_announcer.py
    ask(page, emulate(tokens=2000, rate=50))
    wait_for(answer.text_content, 40, "some text")
    expect(answer).to_have_attribute("aria-busy", "true")
    expect(page.locator(".status[role=status]")).to_have_text("Answering")
    page.keyboard.press("Escape")
    expect_state(page, "cancelled")
    expect(answer).to_have_attribute("aria-busy", "false")
    assert answer.get_attribute("aria-live") is None
