"""The colours of `styles/tokens.css` contrast with the grounds that they stand on, in light and dark.

WCAG 2.2, 1.4.3: text 4.5 : 1; 1.4.11: the borders of controls and the marks of states 3 : 1.
"""

from itertools import product

import pytest
from playwright.sync_api import Page

GROUNDS = ("ground", "side", "surface", "sunken")
TEXTS = {
    **dict.fromkeys(("ink", "faint", "water", "water-strong", "bad", "warn", "good"), GROUNDS),
    **{f"code-{kind}": ("sunken",) for kind in ("comment", "keyword", "string", "number", "name", "type")},
}
PAIRS = [
    *((text, ground, 4.5) for text, grounds in TEXTS.items() for ground in grounds),
    *((text, "wash", 4.5) for text in ("ink", "faint", "water-strong", "water")),
    ("ink", "mark", 4.5),
    ("ink", "selection", 4.5),
    ("bad", "bad-wash", 4.5),
    ("on-water", "water", 4.5),
    ("on-water", "water-strong", 4.5),
    ("code-string", "code-added", 4.5),
    ("bad", "code-removed", 4.5),
    *((edge, ground, 3.0) for edge, ground in product(("edge", "water"), GROUNDS)),
    ("on-water", "water", 3.0),
]
COLORS = """names => {
  const probe = document.body.appendChild(document.createElement("p"));
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const read = name => {
    probe.style.color = `var(--${name})`;
    pixel.fillStyle = getComputedStyle(probe).color;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const colors = Object.fromEntries(names.map(name => [name, read(name)]));
  probe.remove();
  return colors;
}"""


def luminance(color: list[int]) -> float:
    """Return the relative luminance of an sRGB colour: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in (c / 255 for c in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[int], other: list[int]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_of_black_and_white_is_21() -> None:
    assert contrast([0, 0, 0], [255, 255, 255]) == pytest.approx(21)
    assert contrast([118, 118, 118], [255, 255, 255]) == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes


def test_every_color_contrasts_with_its_grounds_in_both_themes(page: Page) -> None:
    names = sorted({name for pair in PAIRS for name in pair[:2]})
    weak: list[str] = []
    for theme, more in product(("light", "dark"), ("no-preference", "more")):
        page.emulate_media(color_scheme="light" if theme == "dark" else "dark", contrast=more)  # the choice wins
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        colors: dict[str, list[int]] = page.evaluate(COLORS, names)
        assert len({tuple(color) for color in colors.values()}) > len(colors) / 2
        for one, other, least in PAIRS:
            if (found := contrast(colors[one], colors[other])) < least:
                weak.append(f"{theme}, contrast {more}: {one} on {other}: {found:.2f} < {least}")
    assert weak == []


def test_theme_follows_the_system_unless_the_user_has_chosen_one(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert page.evaluate(ground) == light
