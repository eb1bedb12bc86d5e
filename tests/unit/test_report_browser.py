"""The report in a real browser: silent, offline, filtered, on a phone, with hostile data."""

import json

import pytest
from chromium import CHOOSE, SHOWN, TYPE, Browser, needs_chromium
from report_run import make_run
from test_report_rounds import TOLD

from raytune_agents import report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return report.write_report(make_run(tmp_path_factory.mktemp("runs") / "demo"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return report.write_report(make_run(tmp_path_factory.mktemp("runs") / "hostile", hostile=True))


# desktop, the narrowest with a column of links, tablet, phone
@pytest.mark.parametrize("width", [1280, 861, 768, 390])
@pytest.mark.parametrize("which", ["demo", "hostile"])
def test_quiet_and_offline(browser, request, which, width):
    path = request.getfixturevalue(which)
    browser.open(path.as_uri(), width)
    assert browser.messages == []
    assert browser.requests == [path.as_uri()] or browser.requests == [path.as_uri(), "data:,"]
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.scripts.length") == 1
    assert browser.run("document.images.length") == 0


def test_filter_by_fault_split_and_text(browser, demo):
    browser.open(demo.as_uri())
    everything = browser.run(SHOWN)
    browser.run(CHOOSE.format(id="fault", label="malformed_json"))
    some = browser.run(SHOWN)
    assert 0 < some < everything
    shown = "[...document.querySelectorAll('#cases > details:not([hidden])')]"
    assert browser.run(f"{shown}.every(d => d.textContent.includes('malformed_json'))")
    assert browser.run("document.getElementById('count').textContent") == f"{some} shown"
    browser.run(CHOOSE.format(id="split", label="test_seen"))
    fewer = browser.run(SHOWN)
    assert 0 < fewer < some
    address = browser.run("location.href")
    browser.open(address)  # the filter is in the address
    assert browser.run(SHOWN) == fewer
    browser.run(TYPE.format(words="no such words"))
    assert browser.run(SHOWN) == 0
    assert browser.messages == []


def test_filter_by_arm_and_tool(browser, demo):
    browser.open(demo.as_uri())
    everything = browser.run(SHOWN)
    marked = "[...document.querySelectorAll('#cases > details:not([hidden])')].every(d => {})"
    arm = browser.run(CHOOSE.format(id="arm", label="nat"))
    wrong = browser.run(SHOWN)
    assert 0 < wrong < everything  # those that nat got wrong
    own = f"d.dataset.marks.split(' ').some(m => m.startsWith('{arm}:'))"
    assert browser.run(marked.format(own))
    fault = browser.run(CHOOSE.format(id="fault", label="wrong_value"))
    both = browser.run(SHOWN)
    assert 0 < both < wrong
    # both of one answer, and not one of each
    assert browser.run(marked.format(f"d.dataset.marks.split(' ').includes('{arm}:{fault}')"))
    browser.run(CHOOSE.format(id="fault", label="all"))
    assert browser.run(SHOWN) == wrong
    tool = browser.run(CHOOSE.format(id="tool", label="run_query"))
    fewer = browser.run(SHOWN)
    assert 0 < fewer < wrong
    assert browser.run(marked.format(f"d.dataset.tool === '{tool}'"))
    browser.open(browser.run("location.href"))
    assert browser.run(SHOWN) == fewer
    assert browser.messages == []


def test_keyboard_reaches_filter_and_opens_a_case(browser, demo):
    browser.open(demo.as_uri())
    browser.key("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"
    browser.run("document.getElementById('find').focus()")
    browser.key("Tab", 9)
    assert browser.run("document.activeElement.tagName") == "SUMMARY"
    browser.key("Enter", 13, "\r")
    assert browser.run("document.querySelector('#cases > details').open")


def test_dark_and_print_have_their_colours(browser, demo):
    browser.open(demo.as_uri())
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    browser.colours("dark")
    assert browser.run(paper) != light
    browser.colours("dark", "print")
    assert browser.run(paper) == "rgb(255, 255, 255)"
    assert not browser.run("document.querySelector('nav').checkVisibility()")
    browser.colours("light")


@pytest.mark.parametrize("width", [1280, 390])
def test_words_in_a_table_have_room_and_names_stay_in_sight(browser, tmp_path, width):
    """A column of words in a wide table was a letter wide, and its lines twenty high."""
    run = make_run(tmp_path / "demo")
    (run / "train" / "again").mkdir(parents=True)
    (run / "train" / "again" / "rounds.json").write_text(json.dumps(TOLD))
    browser.open(report.write_report(run).as_uri(), width)
    cells = "#rounds .grid td:not(.num, :empty), #data td.small:not(:empty)"
    words = f"[...document.querySelectorAll('{cells}')]"
    assert browser.run(f"{words}.map(td => td.textContent)").count("4 cut_at_max_tokens, 1 leak")
    assert browser.run(f"Math.min(...{words}.map(td => td.offsetWidth))") >= 150
    table = "document.querySelector('#rounds .scroll')"
    fits = browser.run(f"{table}.scrollWidth <= {table}.clientWidth")
    assert fits is (width == 1280)  # on a phone it scrolls by itself
    name = f"{table}.querySelector('tbody th').getBoundingClientRect().left"
    left = browser.run(name)
    browser.run(f"{table}.scrollLeft = 200")
    assert browser.run(name) == left
    assert browser.run("document.documentElement.scrollWidth") <= width
