"""`export --hub --push`: a dry run without a token; a hub that refuses, or is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.cli.shared_options import console
from raytune_agents.cli.take_away import name_base
from raytune_agents.config import ConfigError
from raytune_agents.exports.hub import LOGIN, hub_folders, push_folders

TOKEN = "hf_ThisIsNoTokenOfAnybody12345678"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `export --hub` wrote, on a machine where nobody has logged in."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    out = tmp_path / "hub"
    for name in ("models/nat", "models/sft", "dataset", "space"):
        (out / name).mkdir(parents=True)
        (out / name / "README.md").write_bytes(b"x" * 2**20)
    return out


def test_an_adapter_names_its_base_as_others_find_it(tmp_path: Path) -> None:
    file = tmp_path / "adapter_config.json"
    here = {"base_model_name_or_path": "/root/.cache/huggingface/hub/models--A--B", "r": 4}
    for name, told in (("A/B", "A/B"), ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct"),
                       (str(tmp_path), tmp_path.name)):
        file.write_text(json.dumps(here))
        name_base(file, name)
        assert json.loads(file.read_text()) == {"base_model_name_or_path": told, "r": 4}
    name_base(tmp_path / "none.json", "A/B")  # full weights have none
    assert not (tmp_path / "none.json").exists()


class Refuses(BaseHTTPRequestHandler):
    asked: list[tuple[str, str, dict]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append((self.path, self.headers["authorization"], body))
        self.send_response(403)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"error": "this token may not write"}')

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def refusing() -> Iterator[str]:
    Refuses.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_without_a_token_it_says_what_it_would_send(written: Path, refusing: str) -> None:
    lines = push_folders(hub_folders(written, "me", "demo"), endpoint=refusing)
    assert lines == [
        f"would send model me/demo-nat: 1 files, 1.0 MiB of {written}/models/nat",
        f"would send model me/demo-sft: 1 files, 1.0 MiB of {written}/models/sft",
        f"would send dataset me/demo-rows: 1 files, 1.0 MiB of {written}/dataset",
        f"would send space me/demo-report: 1 files, 1.0 MiB of {written}/space",
        LOGIN,
    ]
    assert Refuses.asked == []


def test_a_hub_that_refuses_is_quoted(
    written: Path, refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(ConfigError, match=r"me/demo-nat is not sent: .*sent are 0 of 4") as caught:
        push_folders(hub_folders(written, "me", "demo"), endpoint=refusing)
    assert "this token may not write" in str(caught.value)
    assert TOKEN not in str(caught.value)
    path, key, body = Refuses.asked[0]
    assert (path, key) == ("/api/repos/create", f"Bearer {TOKEN}")
    assert (body["name"], body["visibility"]) == ("demo-nat", "private")
    assert len(Refuses.asked) == 1, "nothing is uploaded to a repository that is not there"
    with pytest.raises(ConfigError, match="demo-nat is not sent"):
        push_folders(hub_folders(written, "me", "demo"), endpoint="http://127.0.0.1:9")


def test_what_cannot_be_sent_is_refused_before(written: Path) -> None:
    with pytest.raises(ConfigError, match=r"--push 'a b': "):
        hub_folders(written, "a b", "demo")
    (written / "space" / "README.md").unlink()
    (written / "space").rmdir()
    with pytest.raises(ConfigError, match="space is no folder"):
        hub_folders(written, "me", "demo")
    done = CliRunner().invoke(app, ["export", "--push", "me"])
    assert done.exit_code == 2
    assert "write --hub DIR" in " ".join(done.output.split())


def test_the_command_sends_what_was_written_before(written: Path) -> None:
    """Its cards may have been edited since."""
    words = ["export", "name=demo", "--hub", str(written), "--push", "me"]
    with console.capture() as captured:
        done = CliRunner().invoke(app, words)
    said = " ".join(captured.get().split())
    assert done.exit_code == 0, done.output
    assert "would send space me/demo-report: 1 files" in said
    assert "nothing was sent" in said
