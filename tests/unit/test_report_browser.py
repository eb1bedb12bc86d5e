"""The report in a real browser: silent, offline, filtered, on a phone, with hostile data."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from report_run import make_run

from raytune_agents import report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
connect = pytest.importorskip("websockets.sync.client", reason="needs websockets").connect
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium (apt-get install chromium)")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
)


class Browser:
    """Headless Chromium over its DevTools protocol: one page, its console and its requests."""

    def __init__(self, folder: Path) -> None:
        command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port = self._port(folder / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as reply:
            page = next(p for p in json.load(reply) if p["type"] == "page")
        self.socket = connect(page["webSocketDebuggerUrl"], max_size=None, open_timeout=30)
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.count = 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _port(self, file: Path) -> int:
        for _ in range(600):
            if file.is_file() and (lines := file.read_text().splitlines()):
                return int(lines[0])
            assert self.process.poll() is None, "chromium ended at its start"
            time.sleep(0.1)
        raise TimeoutError("chromium wrote no DevToolsActivePort in 60 s")

    def note(self, event: dict) -> None:
        """Keep what the page says and asks for."""
        kind, facts = event.get("method", ""), event.get("params", {})
        if kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(facts)[:400])
        if kind == "Network.requestWillBeSent":
            self.requests.append(facts["request"]["url"])
        if kind == "Page.javascriptDialogOpening":
            self.messages.append(f"dialog: {facts['message']}")

    def call(self, method: str, **params: object) -> dict:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            reply = json.loads(self.socket.recv(timeout=60))
            if reply.get("id") == self.count:
                assert "error" not in reply, reply
                return reply["result"]
            self.note(reply)

    def run(self, script: str) -> object:
        """The JSON value of an expression in the page."""
        reply = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def open(self, url: str, width: int = 1280, height: int = 900) -> None:
        self.call("Page.navigate", url="about:blank")
        self.messages.clear()
        self.requests.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        self.call("Page.navigate", url=url)
        for _ in range(300):
            if self.run("location.href !== 'about:blank' && document.readyState === 'complete'"):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{url} did not load in 30 s")

    def key(self, name: str, code: int, text: str = "") -> None:
        facts = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=30)


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


SHOWN = "[...document.querySelectorAll('#cases > details')].filter(d => d.checkVisibility()).length"
CHOOSE = """(() => {{ const s = document.getElementById('{id}');
  s.value = [...s.options].find(o => o.textContent === '{label}').value;
  s.dispatchEvent(new Event('input', {{bubbles: true}})); return s.value }})()"""
TYPE = """(() => {{ const f = document.getElementById('find'); f.value = '{words}';
  f.dispatchEvent(new Event('input')) }})()"""


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
    browser.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    assert browser.run(paper) != light
    browser.call("Emulation.setEmulatedMedia", media="print",
                 features=[{"name": "prefers-color-scheme", "value": "dark"}])  # fmt: skip
    assert browser.run(paper) == "rgb(255, 255, 255)"
    assert not browser.run("document.querySelector('nav').checkVisibility()")
    browser.call("Emulation.setEmulatedMedia", media="", features=[])
