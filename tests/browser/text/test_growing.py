"""A text that grows: it never gets shorter, what is finished stays, and its end is as if it had come at once."""

import json
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import visiting

GENERATED = Path(__file__).with_name("generated.js").read_text("utf-8")
DOCUMENTS = 60
DOCUMENT = """# Title

A paragraph with **bold**, *italic*, `code`, [a link](https://example.org/) and $x^2$ for $5.

- one
- two **b**
  - three `c`

    ```js
    let a = 1;
    ```
- [x] done

| a | b |
|---|---|
| 1 | **2** |

```python
def f():
    return 1
```

> quoted
> text

$$
E = mc^2
$$

The end.
"""

HALF_WRITTEN = json.loads(Path(__file__).with_name("samples.json").read_text("utf-8"))["half_written"]


def test_text_never_gets_shorter_and_ends_as_if_it_had_come_at_once(view: Page) -> None:
    view.evaluate(GENERATED)
    failures = view.evaluate(
        """({ count, document }) => {
          const failures = [];
          for (let seed = 0; seed < count; seed++) {
            const text = seed === 0 ? document : generated(seed);
            let shown = 0;
            const { container } = viewing.grow(text, seed % 4 === 3 ? 5 : 1, ({ container, text: soFar }) => {
              const { length } = container.textContent;
              if (length < shown) failures.push(["shorter", soFar, shown, length]);
              shown = length;
            });
            const grown = viewing.describe(container);
            const atOnce = viewing.show(text);
            if (grown !== atOnce) failures.push(["different", text, grown, atOnce]);
            container.remove();
          }
          return failures;
        }""",
        {"count": DOCUMENTS, "document": DOCUMENT},
    )
    assert failures == []


def test_half_written_syntax_is_hidden_until_it_is_decided(view: Page) -> None:
    shown = view.evaluate(
        """texts => texts.map((text) => {
          const { container } = viewing.grow(text, text.length, () => {}, { isFinished: false });
          return viewing.describe(container);
        })""",
        [text for text, _ in HALF_WRITTEN],
    )
    wrong = [(pair, html) for pair, html in zip(HALF_WRITTEN, shown, strict=True) if pair[1] != html]
    assert wrong == []


def test_nodes_of_finished_blocks_stay_the_same(view: Page) -> None:
    lost = view.evaluate(
        """text => {
          const finished = new Set();
          const { container } = viewing.grow(text, 1, ({ container }) => {
            for (const block of [...container.children].slice(0, -1)) {
              finished.add(block);
              for (const inside of block.querySelectorAll("p, li, tr, td, code, strong")) finished.add(inside);
            }
            const parts = [...container.lastElementChild?.querySelectorAll("li, tbody tr, p > *") ?? []];
            for (const part of parts.slice(0, -1)) finished.add(part);
          });
          return [finished.size, [...finished].filter((node) => !container.contains(node)).length];
        }""",
        DOCUMENT,
    )
    assert lost[0] > 20
    assert lost[1] == 0


def test_finished_items_rows_and_lines_of_a_large_block_are_read_once(view: Page) -> None:
    blocks = {
        "list": "".join(f"- item **{number}** of a list with `code`\n" for number in range(600)),
        "table": "| a | b |\n|---|---|\n" + "".join(f"| row {number} | **b** |\n" for number in range(900)),
        "code": "```python\n" + "".join(f"value_{number} = {number}  # a comment\n" for number in range(800)) + "```\n",
        "text": "".join(f"Paragraph {number} with **bold** text.\n\n" for number in range(600)),
    }
    for name, text in blocks.items():
        result = view.evaluate(
            """async text => {
              const { Lexing } = await import(new URL("static/text/lexing.js", location.href).href);
              const { blocks } = Lexing.prototype;
              let read = 0;
              Lexing.prototype.blocks = function (source, ...rest) {
                read += source.length;
                return blocks.call(this, source, ...rest);
              };
              const firsts = new Set();
              const { container } = viewing.grow(text, 50, ({ container }) => {
                const first = container.querySelector("li, tbody tr, .code-part, p");
                if (first) firsts.add(first);
              });
              Lexing.prototype.blocks = blocks;
              const isSame = viewing.describe(container) === viewing.show(text);
              const result = [read / (text.length / 50), firsts.size, isSame];
              container.remove();
              return result;
            }""",
            text,
        )
        per_frame, firsts, is_same = result
        assert per_frame < 6000, name  # characters that are read for a frame, of a text of 20,000 and more
        assert firsts == 1, name
        assert is_same, name


def test_selection_survives_while_the_text_grows(view: Page) -> None:
    kept = view.evaluate(
        """([begins, more]) => begins.map(([begin, selector]) => {
          const made = viewing.grow(begin, begin.length, () => {}, { isFinished: false });
          const [text] = made.container.querySelector(selector).childNodes;
          getSelection().setBaseAndExtent(text, 1, text, 4);
          const before = getSelection().toString();
          viewing.grow(begin + more, 3, () => {}, { from: begin.length, made, isFinished: false });
          return [before.length, getSelection().toString() === before];
        })""",
        [
            [
                ["First **paragraph** here. ", "p"],
                ["Some words", "p"],
                ["See [the link](http", "p"],
                ["```js\nlet a = 1;\n", ".code-part"],
                ["- one\n- two or three", "li:last-child p"],
                ["| head | b |\n|---|---|\n| cell | d", "td"],
            ],
            "://example.org) and **more** text\n\nfollows with [links](https://example.org) in it",
        ],
    )
    assert kept == [[3, True]] * 6


def test_another_text_replaces_the_one_before(view: Page) -> None:
    shown = view.evaluate(
        """() => {
          const made = viewing.make();
          viewing.grow("# One\\n\\ntwo **three** four", 1, () => {}, { made });
          const texts = [viewing.describe(made.container)];
          for (const text of ["# One\\n\\nfive", "", "```\\ncode\\n```", "# One\\n\\nfive **six**"]) {
            viewing.grow(text, 100, () => {}, { made });
            texts.push(viewing.describe(made.container));
          }
          texts.push(made.view.source);
          return texts;
        }"""
    )
    assert shown == [
        "<h1>One</h1><p>two <strong>three</strong> four</p>",
        "<h1>One</h1><p>five</p>",
        "",
        "<figure data-language><pre><code>code</code></pre></figure>",
        "<h1>One</h1><p>five <strong>six</strong></p>",
        "# One\n\nfive **six**",
    ]


def test_text_appears_on_a_page_without_frames(view: Page) -> None:
    view.evaluate(
        """() => {
          window.requestAnimationFrame = () => 1; // as on a hidden page
          window.made = viewing.make();
          window.made.container.classList.add("made");
          window.made.view.set("It **appears**.");
        }"""
    )
    expect(view.locator(".made")).to_have_text("It appears.")


def test_text_is_plain_where_the_packages_are_missing(view: Page) -> None:
    warnings: list[str] = []
    with visiting(view.context, "about:blank") as page:
        page.route("**/static/assets/**", lambda route: route.abort())
        page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
        page.goto(view.url)
        page.evaluate(Path(__file__).with_name("viewing.js").read_text("utf-8"))
        assert page.evaluate("viewing.show('# a\\n\\n**b** <i>c</i>')") == "<p># a\n\n**b** &lt;i&gt;c&lt;/i&gt;</p>"
    assert [text for text in warnings if "plain text" in text] == warnings
    assert len(warnings) == 1
