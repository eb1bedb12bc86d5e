"""The page of a real run in a browser: widths, light and dark, the error browser, its CSV files.
The screenshots stay in pytest's folder.

    pytest -m slow tests/ray/test_report_page.py
"""

from __future__ import annotations

import base64
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "unit"))
from chromium import SHOWN, TYPE, Browser, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
PAPER = "getComputedStyle(document.body).backgroundColor"
OPTIONS = "[...document.getElementById('{id}').options].map(o => o.value)"
PICK = """(() => {{ const s = document.getElementById('{id}'); s.value = '{value}';
  s.dispatchEvent(new Event('input', {{bubbles: true}})) }})()"""
LINKS = "[...document.querySelectorAll('a.csv')].map(a => [a.download, a.href])"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tiny: tuple[Path, str]) -> str:
    return (tiny[0] / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 390])
def test_quiet_and_as_wide_as_the_screen(browser, page, width, scheme, tmp_path) -> None:
    browser.colours("light")
    browser.open(page, width)
    light = browser.run(PAPER)
    browser.colours(scheme)
    assert (browser.run(PAPER) == light) is (scheme == "light")
    assert browser.messages == []
    assert {url.partition(",")[0] for url in browser.requests} <= {page, "data:"}
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.shoot(tmp_path / f"report-{width}-{scheme}.png")
    assert (tmp_path / f"report-{width}-{scheme}.png").stat().st_size > 50_000


def test_every_choice_of_the_error_browser_finds_its_cases(browser, page) -> None:
    browser.open(page)
    everything = browser.run(SHOWN)
    assert everything > 0
    for name in ("arm", "fault", "tool", "split"):
        values = browser.run(OPTIONS.format(id=name))
        assert values[0] == ""
        assert len(values) > 1, name
        for value in values[1:]:
            browser.run(PICK.format(id=name, value=value))
            shown = browser.run(SHOWN)
            assert 0 < shown <= everything, (name, value)
            assert browser.run("document.getElementById('count').value") == f"{shown} shown"
        browser.run(PICK.format(id=name, value=""))
    browser.run(TYPE.format(words="no such words"))
    assert browser.run(SHOWN) == 0
    browser.run(TYPE.format(words=""))
    assert browser.run(SHOWN) == everything
    assert browser.messages == []


def inside(address: str) -> bytes:
    """The file that a data: address holds."""
    return base64.b64decode(address.partition("base64,")[2])


def test_every_chart_has_its_data_and_a_click_brings_it(browser, page, tmp_path) -> None:
    browser.open(page)
    links = browser.run(LINKS)
    assert len(links) == browser.run("document.querySelectorAll('figure').length") > 0
    for name, address in links:
        head, *rows = csv.reader(inside(address).decode().splitlines())
        assert name.endswith(".csv")
        assert rows, name
        assert {len(row) for row in rows} == {len(head)}, name
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.querySelector('a.csv').click()")
    stop = time.monotonic() + 30
    while not (found := list(tmp_path.glob("*.csv"))) and time.monotonic() < stop:
        time.sleep(0.1)
    assert [file.read_bytes() for file in found] == [inside(links[0][1])]
    assert browser.messages == []
