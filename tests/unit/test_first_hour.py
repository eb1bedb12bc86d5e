"""`make first-hour`: a stage that fails costs the exit status, not the others; the server is asked
with tools and ended."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import first_hour  # noqa: E402

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = json.loads(sys.argv[1])
        body = json.dumps({"choices": [{"message": message}]} if asked["tools"] else {})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())
port = int(sys.argv[sys.argv.index("--port") + 1])
HTTPServer(("127.0.0.1", port), Answers).serve_forever()
"""
CALL = '{"tool_calls": [{"function": {"name": "find_slot", "arguments": "{}"}}]}'


@pytest.mark.parametrize(
    ("message", "failed", "said"),
    [
        (CALL, 0, "find_slot({})"),
        ('{"content": " We are open. "}', 0, "We are open."),
        ('{"content": ""}', 1, "neither a call nor words"),
        ("", 1, "see "),
        ('{"tool_calls": [{}]}', 1, "see "),
    ],
)
def test_a_server_is_asked_and_ended(tmp_path, message, failed, said) -> None:
    (tmp_path / first_hour.REQUEST).parent.mkdir(parents=True)
    (tmp_path / first_hour.REQUEST).write_bytes((ROOT / first_hour.REQUEST).read_bytes())
    (tmp_path / "server.py").write_text(SERVER)
    stage = first_hour.run_server(f"{sys.executable} server.py '{message}'", tmp_path)
    assert stage.exit == failed
    assert said in stage.said


def test_a_server_that_ends_is_no_answer(tmp_path) -> None:
    stage = first_hour.run_server(f"{sys.executable} -c 'raise SystemExit(3)'", tmp_path)
    assert (stage.exit, "ended with 3" in stage.said) == (1, True)


def test_stages_after_a_failure_are_done_and_the_exit_tells(tmp_path, monkeypatch, capsys) -> None:
    target = tmp_path / "first_hour.json"
    monkeypatch.setattr(first_hour, "STAGES", {"a": "exit 3", "export": "echo hi", "serve": ""})
    monkeypatch.setattr(first_hour, "TARGET", target)
    monkeypatch.setattr(first_hour, "about", lambda folder: {})
    monkeypatch.setattr(sys, "argv", ["first_hour.py", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        first_hour.main()
    assert ended.value.code == 1
    assert '"failed": {\n  "a": 3,\n  "serve": 1\n }' in target.read_text()
    assert "hi\n" in capsys.readouterr().out


def test_the_line_that_serves_is_the_printed_one() -> None:
    said = "written: tuned; to serve:\npython -m vllm.x --model t\n"
    assert first_hour.serving_line(said) == "python -m vllm.x --model t"
    assert first_hour.serving_line("vllm serve t\n") == "vllm serve t"
    assert first_hour.serving_line("no arm") == ""
