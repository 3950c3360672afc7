"""The rules of axe-core, which the tests run inside the page: https://www.deque.com/axe/."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async tags => {
  const { violations } = await axe.run({ runOnly: tags, resultTypes: ["violations"] });
  return violations.map(({ id, help, nodes }) => ({
    rule: `${id}: ${help}`,
    nodes: nodes.map(({ target, any, all, none }) =>
      `${target.join(" ")} (${[...any, ...all, ...none].map(({ message }) => message).join("; ")})`),
  }));
}"""


class Axe:
    """Checks pages by axe-core's rules of WCAG 2.2 A and AA and of good practice."""

    PACKAGES = Path(__file__).parent / "npm"

    def __init__(self, script: Path) -> None:
        self._script = script.read_text("utf-8")

    def violations(self, page: Page) -> list[str]:
        """Return a line for each rule that the page as it is shown now violates."""
        if page.evaluate("typeof axe") == "undefined":
            page.evaluate(self._script)
        found: list[dict[str, Any]] = page.evaluate(RUN, TAGS)
        return [f"{each['rule']}\n    " + "\n    ".join(each["nodes"]) for each in found]
