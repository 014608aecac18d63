"""The log of a run that said very much: the browser holds a part of it, and every line is reached all the same."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from runs.models import LogLine, Run
from tests.browser.test_runs_live import opened
from tests.support import stored
from tests.support.browsing import Visitor

MANY = 30_000
HELD = 4_500  # lines: what logblock.js holds, and a page on its way

#: What the reader sees: the texts of the rows in sight, and where the first of them is in pixels.
IN_SIGHT = """() => {
  const box = document.querySelector('#log .lines').getBoundingClientRect();
  const place = (e) => [e.getBoundingClientRect(), e.querySelector('.text').textContent];
  const seen = [...document.querySelectorAll('#log .line')].map(place)
    .filter(([r]) => r.top >= box.top - 1 && r.bottom <= box.bottom + 1)
    .sort((a, b) => a[0].top - b[0].top);
  return { texts: seen.map(([, text]) => text), top: seen.length ? seen[0][0].top - box.top : null };
}"""


def numbers(page: Page) -> list[int]:
    return [int(text.split()[1]) for text in page.evaluate(IN_SIGHT)["texts"]]


def held(page: Page) -> int:
    return int(page.evaluate("HoldfastLog.attach(document.getElementById('log')).lines.length"))


def spoken(run: Run, first: int, last: int) -> list[int]:
    """Lines `line N`, a tenth of a second apart; their sequences."""
    made: list[int] = []
    for begin in range(first, last, 10_000):
        block = range(begin, min(begin + 10_000, last))
        lines = LogLine.objects.bulk_create(
            LogLine(
                run=run,
                message=f"line {n}" + (" needle" if n % 10_000 == 77 else ""),
                at=run.created_at + timedelta(seconds=n / 10),
                level=40 if n % 1_000 == 0 else 20,
                attempt=1,
                step=f"read#{n // 1_000}",
            )
            for n in block
        )
        made += [line.sequence for line in lines]
    return made


@pytest.fixture
def long(visitor: Visitor) -> tuple[Page, Run, list[int]]:
    """The page of a run at work that has said 30,000 lines."""
    run = stored.run("running", age=7_200)
    stored.attempt(run, worker=stored.worker())
    sequences = spoken(run, 0, MANY)
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    expect(page.locator("#log")).to_contain_text(f"line {MANY - 1}")
    return page, run, sequences


def consecutive(found: list[int]) -> bool:
    return len(found) > 10 and found == list(range(found[0], found[0] + len(found)))


def scroll(page: Page, rows: int) -> None:
    page.locator("#log .lines").evaluate(f"e => {{ e.scrollTop += {rows * 20}; }}")


def shows(page: Page, number: int) -> Locator:
    """The line with this number, when it is drawn."""
    line = page.locator("#log .line").filter(has_text=f"line {number}").first
    expect(line).to_be_attached()
    return line


#: Scrolls so many rows at a time, as a wheel would, to an edge of what was asked; what was in sight on the way, and
#: whether it always was a run of consecutive lines that goes on from the one before.
WHEEL = """async ([rows, times]) => {
  const scroller = document.querySelector('#log .lines'), frame = () => new Promise(requestAnimationFrame);
  const look = SIGHT, seen = new Set(), broken = [];
  const full = Math.floor(scroller.clientHeight / 20) - 1; // with fewer, a page of lines is on its way
  let before = look().texts.map((t) => Number(t.split(' ')[1]));
  for (let i = 0; i < times; i++) {
    scroller.scrollTop += rows * 20;
    let now = [];
    for (const end = performance.now() + 20000; now.length < full && performance.now() < end; ) {
      await frame();
      now = look().texts.map((t) => Number(t.split(' ')[1]));
    }
    const whole = now.length >= full && now.every((n, i) => n === now[0] + i);
    if (!whole || Math.abs(now[0] - before[0]) > Math.abs(rows) + 1) broken.push([before, now]);
    for (const n of now) seen.add(n);
    before = now;
  }
  return { broken, seen: [...seen].sort((a, b) => a - b) };
}""".replace("SIGHT", f"({IN_SIGHT})")


def test_scrolling_back_brings_every_line_once_and_moves_none_of_those_in_sight(
    long: tuple[Page, Run, list[int]],
) -> None:
    page, _, _ = long
    expect(page.locator("#log .foot")).to_have_text("about 30,000 lines")
    way = page.evaluate(WHEEL, [-18, 300])
    assert way["broken"] == []
    assert way["seen"] == list(range(way["seen"][0], way["seen"][-1] + 1)), "no line was passed over"
    assert way["seen"][0] < MANY - 5_000
    assert held(page) <= HELD
    assert page.evaluate("document.getElementsByTagName('*').length") < 3_000
    # What comes above and below leaves the sight alone.
    before = page.evaluate(IN_SIGHT)
    page.evaluate("HoldfastLog.attach(document.getElementById('log')).loadBefore()")
    page.evaluate("HoldfastLog.attach(document.getElementById('log')).loadAfter()")
    page.wait_for_function("() => HoldfastLog.attach(document.getElementById('log')).loading.size === 0")
    assert page.evaluate(IN_SIGHT) == before
    way = page.evaluate(WHEEL, [18, 310])
    assert way["seen"] == list(range(way["seen"][0], MANY))
    expect(page.get_by_label("Follow")).to_be_checked()


def test_first_last_and_the_bar_lead_anywhere(long: tuple[Page, Run, list[int]]) -> None:
    page, run, _ = long
    log = page.locator("#log")
    # From the end, where it follows: the bar stands for all lines and not only for those that are held.
    page.locator("#log .lines").evaluate("e => { e.scrollTop = e.scrollHeight / 2; }")
    half = f"() => {{ const s = ({IN_SIGHT})().texts; return s.length > 10 && Number(s[0].split(' ')[1]) < 18_000; }}"
    page.wait_for_function(half)
    expect(page.get_by_label("Follow")).not_to_be_checked()
    log.get_by_role("button", name="First").click()
    shows(page, 0)
    assert numbers(page)[0] == 0
    expect(page.get_by_label("Follow")).not_to_be_checked()
    stored.lines(run, "line 30000")
    page.locator("#log .lines").evaluate("e => { e.scrollTop = e.scrollHeight / 2; }")
    page.wait_for_function(f"() => ({IN_SIGHT})().texts.length > 10")
    middle = numbers(page)
    assert consecutive(middle)
    assert abs(middle[0] - MANY / 2) < MANY / 10, middle[0]
    log.get_by_role("button", name="Last").click()
    shows(page, MANY)
    stored.lines(run, "line 30001")
    shows(page, MANY + 1)
    assert numbers(page)[-1] == MANY + 1


def test_a_time_and_a_link_lead_to_their_line(long: tuple[Page, Run, list[int]]) -> None:
    page, run, sequences = long
    log, goal = page.locator("#log"), page.get_by_label("Go to a time or line")
    goal.fill((run.created_at + timedelta(seconds=1_234.5)).isoformat())
    page.keyboard.press("Enter")
    marked = log.locator(".line[data-marked] .text")
    expect(marked).to_have_text("line 12345")
    goal.fill("25 o'clock")
    page.keyboard.press("Enter")
    assert "Write a time like 12:03:11" in goal.evaluate("e => e.validationMessage")
    goal.fill(str(sequences[777]))
    page.keyboard.press("Enter")
    expect(marked).to_have_text("line 777")
    expect(page).to_have_url(re.compile(f"#line-{sequences[777]}$"))
    page.goto("about:blank")
    page.goto(f"/runs/{run.pk}/#line-{sequences[20_200]}")
    expect(marked).to_have_text("line 20200")
    expect(marked).to_be_in_viewport()
    assert consecutive(numbers(page))
    expect(page.get_by_label("Follow")).not_to_be_checked()
    log.locator(".line").filter(has_text="line 20203").locator("a.at").click()
    expect(marked).to_have_text("line 20203")
    expect(page).to_have_url(re.compile(f"#line-{sequences[20_203]}$"))
    page.evaluate(f"location.hash = 'line-{sequences[-1] + 10**9}'")
    expect(log.locator(".foot")).to_contain_text("is not in this log")


def test_filters_look_at_all_lines_and_say_how_far_they_have_looked(long: tuple[Page, Run, list[int]]) -> None:
    page, run, _ = long
    lines, foot = page.locator("#log .line"), page.locator("#log .foot")
    page.get_by_label("Search the log").fill("NEEDLE")
    expect(lines).to_have_count(3)
    expect(foot).to_have_text("3 lines fit · about 30,000 lines")
    stored.lines(run, "line 40077 needle", "hay")
    expect(lines).to_have_count(4)
    page.get_by_label("Search the log").fill("")
    page.get_by_label("Step", exact=True).fill("read#3")
    shows(page, 3_999)
    page.get_by_label("Lowest level").select_option("error and above")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("line 3000")
    page.get_by_label("Search the log").fill("nothing of that kind")
    expect(foot).to_contain_text("No line fits · ")


def test_filters_stand_in_the_address_and_a_link_shows_the_same_lines_to_others(
    long: tuple[Page, Run, list[int]],
) -> None:
    page, _, sequences = long
    plain = page.url
    page.get_by_label("Step", exact=True).fill("read#20")
    page.get_by_label("Lowest level").select_option("error and above")
    page.get_by_label("Search the log").fill("line 2")
    expect(page).to_have_url(f"{plain}?q=line+2&level=error&step=read%2320")
    lines = page.locator("#log .line")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("line 20000")
    lines.locator("a.at").click()
    address = f"{plain}?q=line+2&level=error&step=read%2320#line-{sequences[20_000]}"
    expect(page).to_have_url(address)

    other = page.context.new_page()
    other.goto(address)
    expect(other.locator("#log .line")).to_have_count(1)
    expect(other.locator("#log .line[data-marked] .text")).to_have_text("line 20000")
    expect(other.locator("#log")).to_be_in_viewport()
    assert other.get_by_label("Search the log").input_value() == "line 2"
    assert other.get_by_label("Step", exact=True).input_value() == "read#20"
    assert other.get_by_label("Lowest level").input_value() == "error"
    expect(other.locator("#log .foot")).to_contain_text("1 line fits")
    # A line that does not fit is shown among all, and the address says so.
    other.evaluate(f"location.hash = 'line-{sequences[777]}'")
    expect(other.locator("#log .line[data-marked] .text")).to_have_text("line 777")
    expect(other).to_have_url(f"{plain}#line-{sequences[777]}")
    assert consecutive(numbers(other))
    other.go_back()
    expect(other.locator("#log .line")).to_have_count(1)
    assert other.get_by_label("Search the log").input_value() == "line 2"

    for name in ("Search the log", "Step"):
        page.get_by_label(name, exact=True).fill("")
    page.get_by_label("Lowest level").select_option("all levels")
    expect(page).to_have_url(f"{plain}#line-{sequences[20_000]}")
    shows(page, 20_001)


def test_an_address_with_filters_that_cannot_be_says_so_and_shows_the_log(long: tuple[Page, Run, list[int]]) -> None:
    page, _, _ = long
    plain, foot = page.url, page.locator("#log .foot")
    page.goto("about:blank")
    page.goto(f"{plain}?level=loud&attempt=-1&q=needle&other=kept")
    expect(page.locator("#log .line")).to_have_count(3)
    expect(foot).to_contain_text(
        'There is no level "loud": all levels are shown. Attempt "-1" is no number: all attempts are shown. 3 lines fit'
    )
    expect(page).to_have_url(f"{plain}?other=kept&q=needle")
    page.get_by_label("Search the log").fill("")
    expect(foot).to_have_text("about 30,000 lines")
    expect(page).to_have_url(f"{plain}?other=kept")
    page.goto(f"{plain}?q=a%00b")
    expect(foot).to_contain_text("q holds a control character; write plain text. ")
    page.goto(f"{plain}?attempt=7")
    expect(foot).to_contain_text("No line fits")
    expect(page.get_by_label("Attempt", exact=True)).to_be_visible()
    page.get_by_label("Attempt", exact=True).select_option("all attempts")
    shows(page, MANY - 1)
    expect(page).to_have_url(plain)


def test_a_reader_who_is_elsewhere_is_not_disturbed_by_what_the_run_says(long: tuple[Page, Run, list[int]]) -> None:
    page, run, _ = long
    scroll(page, -300)
    page.wait_for_function(f"() => ({IN_SIGHT})().texts.length > 10")
    before = page.evaluate(IN_SIGHT)
    first = page.locator("#log .line").first.element_handle()
    stored.lines(run, *(f"line {MANY + n}" for n in range(6_000)))
    told = "n => { const log = HoldfastLog.attach(document.getElementById('log')); return log.told >= n; }"
    page.wait_for_function(told, arg=7_000)
    assert page.evaluate(IN_SIGHT) == before
    assert first.evaluate("e => e.isConnected"), "the rows in sight are still the same: a selection in them lives"
    assert held(page) <= HELD
    page.get_by_label("Follow").check()
    shows(page, MANY + 5_999)


def hostile() -> list[str]:
    return [
        "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>",
        "\x1b[2J\x1b[31mred\x1b[0m\x1b]8;;javascript:pwned=1\x07link\x1b]8;;\x07 \x1b[999999999999;1m",
        "back\x08\x08\x08space \r return \x07 bell \x7f",
        "user=\u202egnp.exe\u202c \u2066isolate\u2069 \u200fmark",
        "next\u2028line\u2029and\x85another\x0band\x0ctwo",
        "z" + "\u0310" * 500 + "algo",
        "x" * 1_000_000,
        "\n" * 7_000,
        '<a href="javascript:pwned=1">{"$where": "`${pwned=1}`"}</a>',
    ]


def test_hostile_lines_stay_inert_and_the_page_answers(visitor: Visitor) -> None:
    run = stored.run("completed")
    for _ in range(60):
        stored.lines(
            run, *hostile(), fields={"<b>k</b>": "<img src=x onerror=window.pwned=1>\u202e", "deep": {"a": "\x1b[1m"}}
        )
    stored.lines(run, "the end", at=timezone.now())
    page, _ = opened(visitor, f"/runs/{run.pk}/")
    log = page.locator("#log")
    expect(log).to_contain_text("the end", timeout=40_000)
    for place in (0, 0.3, 0.6, 1):
        log.locator(".lines").evaluate(f"e => {{ e.scrollTop = e.scrollHeight * {place}; }}")
        page.evaluate("() => new Promise(requestAnimationFrame)")
    log.get_by_role("button", name="First").click()
    rows = log.locator(".line .text")
    expect(rows.first).to_contain_text("<img src=x onerror=window.pwned=1><script>")
    texts = "\n".join(rows.all_inner_texts())
    for shown in (
        "redlink",
        "back␈␈␈space ␍ return ␇ bell \\u007f",
        "user=\\u202egnp.exe\\u202c",
        "next\\u2028line",
    ):
        assert shown in texts, json.dumps(texts[:2_000])
    assert log.locator("img, script, b, a:not(.at):not(.button)").count() == 0
    assert page.evaluate("window.pwned") is None
    heights = log.locator(".line").evaluate_all("es => es.map((e) => e.getBoundingClientRect().height)")
    assert set(heights) == {20}
    page.get_by_label("Search the log").fill("<img src=x")
    expect(log.locator(".foot")).to_contain_text("fit")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
