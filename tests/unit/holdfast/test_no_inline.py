"""The pages' policy allows no inline code, so none is written: it would only wait for someone to weaken the policy."""

import re
from pathlib import Path

import pytest

from holdfast.middleware import POLICY

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
INLINE = {
    "a style attribute": r"""<[^>]*\sstyle\s*=""",
    "an event handler": r"""<[^>]*\son[a-z]+\s*=\s*["'{]""",
    "an htmx event handler": r"\b(?:data-)?hx-on\b",
    "an expression for htmx": r"""\bhx-(?:vals|vars|headers)\s*=\s*["']js:""",
    "a <style>": r"<style\b",
    "a script without src": r"<script\b(?![^>]*\ssrc=)",
    "a javascript: address": r"javascript:",
}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_a_template_has_no_inline_code(path):
    text = path.read_text()
    found = {what: match.group() for what, pattern in INLINE.items() if (match := re.search(pattern, text, re.I))}
    assert found == {}


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_everything_is_served_by_holdfast_itself(path):
    foreign = re.findall(r"""(?:src|href|action|url)\s*=\s*["']((?:https?:)?//[^"']+)""", path.read_text())
    assert foreign == []


def test_the_policy_trusts_our_own_files_and_nothing_inline():
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert not re.search(r"https?:|\*", POLICY)
    assert "frame-ancestors 'none'" in POLICY


def test_scripts_write_text_never_markup_of_others():
    """A constant of the script itself may be markup: a literal, or an icon of its table."""
    markup = r"\.(?:innerHTML|outerHTML)\s*\+?=(?!=)(?!\s*(?:'[^'$]*';|ICONS\[))|insertAdjacentHTML|document\.write"
    for path in (ROOT / "static" / "holdfast").glob("*.js"):
        assert re.findall(markup + r"|\beval\(|new Function", path.read_text()) == [], path.name
