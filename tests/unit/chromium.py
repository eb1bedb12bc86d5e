"""Headless Chromium for tests of pages: what a page says, asks for and shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
connect = pytest.importorskip("websockets.sync.client", reason="needs websockets").connect
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="needs chromium (apt-get install chromium)"
)
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

    def colours(self, scheme: str, media: str = "") -> None:
        """light or dark; of the screen or of "print"."""
        scheme_of = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=scheme_of)

    def shoot(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=30)


# scripts for the error browser: cases that are seen; a choice in a list; words in the search field
SHOWN = "[...document.querySelectorAll('#cases > details')].filter(d => d.checkVisibility()).length"
CHOOSE = """(() => {{ const s = document.getElementById('{id}');
  s.value = [...s.options].find(o => o.textContent === '{label}').value;
  s.dispatchEvent(new Event('input', {{bubbles: true}})); return s.value }})()"""
TYPE = """(() => {{ const f = document.getElementById('find'); f.value = '{words}';
  f.dispatchEvent(new Event('input')) }})()"""
