"""Every pair of colours that meets on a page can be read, in both themes: WCAG 2.2 AA, computed from tokens.css."""

import re
from itertools import product
from pathlib import Path

import pytest

from runs.states import Status

STATIC = Path(__file__).parents[3] / "static" / "holdfast"
TOKENS = (STATIC / "tokens.css").read_text()
COLOURS = dict(re.findall(r"--([\w-]+):\s*light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", TOKENS))
THEMES = {"light": 0, "dark": 1}
FAMILIES = ("idle", "queue", "wait", "run", "good", "warn", "bad", "odd")

BACKDROPS = ("page", "surface", "sunken", "hover")
WORDS = [  # text: 4.5 to 1
    *product(("ink", "ink2", "ink3"), BACKDROPS),
    *((f"{family}-ink", f"{family}-soft") for family in FAMILIES),
    *((f"{family}-ink", backdrop) for family in FAMILIES for backdrop in BACKDROPS),
    *(("ink", f"{family}-soft") for family in FAMILIES),
    ("ink3", "run-soft"),  # a selected row
    ("ink", "mark"),
    ("on-solid", "solid"),
    ("on-solid", "solid-hover"),
    ("surface", "bad-ink"),  # the button that does harm
    *product(("rail-ink", "rail-ink2"), ("rail", "rail-hover", "rail-root")),
]
SHAPES = [  # borders of controls, bars, points, the focus ring: 3 to 1
    *product(("control", "focus"), ("page", "surface", "sunken")),
    *((f"{family}-fill", backdrop) for family in FAMILIES for backdrop in ("page", "surface")),
    ("solid", "page"),
    ("solid", "surface"),
]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str, theme: str) -> float:
    low, high = sorted(luminance(COLOURS[name].split(", ")[THEMES[theme]]) for name in (one, other))
    return (high + 0.05) / (low + 0.05)


def unreadable(pairs: list[tuple[str, str]], theme: str, least: float) -> dict[str, float]:
    found = {f"{one} on {other}": round(contrast(one, other, theme), 2) for one, other in pairs}
    return {pair: ratio for pair, ratio in found.items() if ratio < least}


@pytest.mark.parametrize("theme", THEMES)
def test_words_stand_out_from_what_is_behind_them(theme):
    assert unreadable(WORDS, theme, 4.5) == {}


@pytest.mark.parametrize("theme", THEMES)
def test_controls_bars_and_the_focus_ring_can_be_seen(theme):
    assert unreadable(SHAPES, theme, 3) == {}


def test_every_status_has_its_colours():
    table = TOKENS[TOKENS.index("One table from status to colour") :]
    # These two have ended, or not begun, without fault: they wear the colour that everything wears by default.
    calm = {Status.SCHEDULED, Status.CANCELLED, Status.EXPIRED}
    named = set(re.findall(r'data-status="(\w+)"', table))
    assert named >= {str(status) for status in Status} - calm
    assert named <= {str(status) for status in Status} | {"good", "warn", "bad"}


def test_each_property_that_a_stylesheet_reads_exists():
    sheets = {path.name: path.read_text() for path in STATIC.glob("*.css")}
    defined = {name for text in sheets.values() for name in re.findall(r"(--[\w-]+)\s*:", text)}
    for name, text in sheets.items():
        assert set(re.findall(r"var\((--[\w-]+)", text)) <= defined, name


def test_colours_are_named_in_one_place():
    allowed = {"rgb(0 20 24 / 0.16)", "rgb(0 20 24 / 0.25)"}  # shadows
    for path in STATIC.glob("*.css"):
        if path.name != "tokens.css":
            found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b|(?:rgb|hsl|oklch)a?\([^)]*\)", path.read_text()))
            assert found <= allowed, f"{path.name}: give {found - allowed} a name in tokens.css"


def test_sizes_of_letters_come_from_the_scale():
    for path in STATIC.glob("*.css"):
        if path.name == "tokens.css":
            continue
        for value in re.findall(r"font-size:\s*([^;]+);", path.read_text()):
            assert re.fullmatch(r"var\(--t\d\)|inherit|0\.92em|100%", value.strip()), f"{path.name}: {value}"


def test_the_font_that_is_preloaded_is_the_font_that_is_used():
    page = (STATIC.parents[1] / "templates" / "_document.html").read_text()
    (preloaded,) = re.findall(r'rel="preload" href="{% get_static_prefix %}holdfast/([^"]+)"', page)
    assert preloaded == re.findall(r'url\("([^"]+)"\)', TOKENS)[0]
