"""Generation with a teacher: no engine is started, wordings come from the endpoint, a wrong key
stops the run with a message."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import TINY, cli

from raytune_agents.models import embedded
from raytune_agents.storage import read_json, read_rows


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][-1]["content"]
        judged = "response_format" in body
        text = '{"correct": true}' if judged else "Kindly note: " + asked.rpartition("\n\n")[2]
        if self.server.trouble:
            return self.be_trouble(self.server.trouble)
        good = self.headers["Authorization"] == "Bearer right"
        answer = {"choices": [{"message": {"content": text}}],
                  "usage": {"prompt_tokens": 50, "completion_tokens": 10}}  # fmt: skip
        raw = json.dumps(answer if good else {"error": "bad key"}).encode()
        self.server.asked += 1
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def be_trouble(self, kind: str) -> None:
        if kind == "hang":
            time.sleep(3)
        self.send_response(429 if kind == "busy" else 200)
        self.end_headers()
        self.wfile.write(b'{"choices": [{"mess')

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    own = tmp_path / "cache" / "raytune-agents"  # answers of its own beside the user's model
    own.mkdir(parents=True)
    (own / embedded().name).symlink_to(embedded())
    monkeypatch.setenv("XDG_CACHE_HOME", str(own.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.asked, server.trouble = True, 0, ""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.mark.slow
def test_a_teacher_words_and_judges_within_its_budget(endpoint, tmp_path, monkeypatch) -> None:
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    words = (str(TINY), f"runs_dir={tmp_path}")
    more = (*words, "negatives.mined_tasks=0", "generate.judge.samples=1",
            f"generate.teacher={{base_url: {url}, model: big, key_env: MY_KEY, max_tokens: 4000}}",
            "generate.pools={tflan: 1, react: 1, gradual: 1}", "generate.rows=9")  # fmt: skip
    assert cli("run", "--steps", "read", *words).returncode == 0
    stopped = cli("run", "--steps", "generate", *more)
    assert (stopped.returncode, "MY_KEY' is not set" in stopped.stderr) == (2, True)
    monkeypatch.setenv("MY_KEY", "wrong")
    stopped = cli("run", "--steps", "generate", *more)
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert "status 401: check the key in $MY_KEY" in stopped.stderr
    monkeypatch.setenv("MY_KEY", "right")
    done = cli("run", "--steps", "generate", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "tiny"
    assert not (folder / "engine_starts.log").exists()
    manifest = read_json(folder / "generate" / "manifest.json")
    assert "right" not in json.dumps(manifest).split('"')
    spent = manifest["teacher"]
    assert spent["tokens"] == 60 * spent["answered"] <= 4000
    rows = read_rows(folder / "generate" / "synthetic")
    assert any("Kindly note:" in r.messages[0].content for r in rows)
    before = endpoint.asked
    assert cli("run", "--steps", "generate", *more, "generate.shard_rows=5").returncode == 0
    assert endpoint.asked == before, "what was kept is not asked again"


@pytest.mark.slow
def test_an_endpoint_that_never_answers_well_ends_with_counted_rows(
    endpoint, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("MY_KEY", "right")
    url = f"http://127.0.0.1:{endpoint.server_port}/v1"
    words = (str(TINY), f"runs_dir={tmp_path}")
    teacher = (
        f"{{base_url: {url}, model: big, key_env: MY_KEY, retries: 1, wait_s: 0.1, timeout_s: 1}}"
    )
    more = (*words, "negatives.mined_tasks=0", f"generate.teacher={teacher}",
            "generate.pools={tflan: 1}", "generate.rows=6")  # fmt: skip
    assert cli("run", "--steps", "read", *words).returncode == 0
    for trouble, said in (("busy", "status 429 after 2 tries"), ("half", "no chat completion"),
                          ("hang", "ReadTimeout")):  # fmt: skip
        endpoint.trouble = trouble
        stopped = cli("run", "--steps", "generate", *more)
        assert stopped.returncode == 2, stopped.stdout + stopped.stderr
        assert "6 of 6 rows are infra_failed" in stopped.stderr
        assert said in stopped.stdout
        assert "Traceback" not in stopped.stderr
        assert not list((tmp_path / "tiny" / "generate").glob("*/rows-*.parquet"))
    endpoint.trouble = ""
    assert cli("run", "--steps", "generate", *more).returncode == 0
    assert len(read_rows(tmp_path / "tiny" / "generate" / "synthetic")) == 6
