"""The teacher against a real endpoint on this machine: good, busy, refusing, broken and silent."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from raytune_agents.config import ConfigError, TeacherConfig, load_config
from raytune_agents.inference import endpoint
from raytune_agents.inference.cache import Answers, key_of
from raytune_agents.inference.client import EngineDown, Sampling

CHAT = [{"role": "user", "content": "Say it."}]
GOOD = {"choices": [{"message": {"content": "said"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5}}  # fmt: skip


class Endpoint(ThreadingHTTPServer):
    """Answers by a list of (status, body, headers, seconds), the last one for ever."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.seen, self.times = [(200, GOOD, {}, 0.0)], [], []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        plan = self.server.plan
        status, answer, headers, sleep = plan.pop(0) if len(plan) > 1 else plan[0]
        self.server.seen.append((self.path, self.headers.get("Authorization"), body))
        self.server.times.append(time.monotonic())
        time.sleep(sleep)
        raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(raw))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    server = Endpoint()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server: Endpoint, n: int = 1, key: str = "sk-1", ledger: str = "", **options):
    config = {"base_url": server.url, "model": "big", "retries": 2, "wait_s": 0.01} | options
    made = endpoint.Teacher(TeacherConfig(**config), key, ledger=ledger)
    chats = [[{"role": "user", "content": f"Say {i}."}] for i in range(n)]
    return made, made.answer(chats, [Sampling(8, 0.7, seed=i) for i in range(n)])


def test_a_good_answer_carries_text_and_tokens(served) -> None:
    made, (reply,) = ask(served)
    assert (reply.texts, reply.output_tokens, reply.input_tokens) == (["said"], [5], 10)
    path, key, body = served.seen[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer sk-1")
    assert body == {"model": "big", "messages": [{"role": "user", "content": "Say 0."}],
                    "max_tokens": 8, "temperature": 0.7, "seed": 0}  # fmt: skip
    assert made.stats() == {"requests": 1, "answered": 1, "tokens": 15, "usd": 0.0}


def test_n_answers_have_seeds_of_their_own_and_a_schema_travels(served) -> None:
    made = endpoint.Teacher(TeacherConfig(base_url=served.url, model="big"), "")
    schema = '{"type": "object"}'
    (reply,) = made.answer([CHAT], [Sampling(8, 0.7, n=3, seed=5, schema=schema)])
    assert reply.texts == ["said"] * 3
    assert sorted(body["seed"] for _, _, body in served.seen) == [5, 6, 7]
    assert served.seen[0][1] is None
    shape = served.seen[0][2]["response_format"]
    assert shape["json_schema"]["schema"] == {"type": "object"}


def test_what_was_asked_once_is_never_paid_twice(served) -> None:
    ask(served, 4)
    made, replies = ask(served, 5)
    assert len(served.seen) == 5
    assert made.stats() == {"kept": 4, "requests": 1, "answered": 1, "tokens": 15, "usd": 0.0}
    assert [r.texts for r in replies] == [["said"]] * 5
    ask(served, 5, revision="2")
    assert len(served.seen) == 10


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ((429, b"slow down", {"Retry-After": "0"}, 0.0), "status 429"),
        ((500, b"oops", {}, 0.0), "status 500"),
        ((200, b'{"choices": [{"mess', {}, 0.0), "no chat completion"),
        ((200, b'{"choices"', {"Content-Length": "900"}, 0.0), "ReadError|RemoteProtocolError"),
        ((200, GOOD, {}, 1.5), "ReadTimeout"),
    ],
    ids=["429", "500", "half_json", "cut_off", "hangs"],
)
def test_what_passes_is_tried_again_and_then_given_up(served, bad, said) -> None:
    options = {"timeout_s": 0.4} if bad[3] else {"timeout_s": 2.0}
    served.plan = [bad, bad, (200, GOOD, {}, 0.0)]
    made, (reply,) = ask(served, **options)
    assert reply.texts == ["said"]
    assert made.stats()["requests"] == 3
    served.plan = [bad]
    with pytest.raises(EngineDown, match=rf"({said}).* after 3 tries"):
        ask(served, 2, revision="other", **options)


def test_the_endpoints_own_wait_is_kept(served) -> None:
    served.plan = [(429, b"", {"Retry-After": "1"}, 0.0), (200, GOOD, {}, 0.0)]
    ask(served)
    assert served.times[1] - served.times[0] >= 0.95


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "OPENAI_API_KEY"), (404, "model=big"), (400, "write a generate.teacher.model")],
)
def test_what_will_not_pass_stops_at_once(served, status, said) -> None:
    served.plan = [(status, {"error": "no"}, {}, 0.0)]
    # A ConfigError: a command prints it as it is, without a traceback.
    assert issubclass(endpoint.Refused, ConfigError)
    with pytest.raises(endpoint.Refused, match=rf"teacher big.*status {status}.*{said}") as error:
        ask(served, key="sk-secret")
    assert len(served.seen) == 1
    assert "sk-secret" not in str(error.value)


def test_a_token_budget_stops_cleanly_and_outlives_the_process(served, tmp_path) -> None:
    ledger = str(tmp_path / "teacher.jsonl")
    made, replies = ask(served, 20, ledger=ledger, max_tokens=100, concurrency=4)
    answered = [r for r in replies if r is not None]
    assert 0 < len(answered) == len(served.seen) < 20
    assert made.stats()["tokens"] == 15 * len(answered) <= 100
    again, rest = ask(served, 20, ledger=ledger, max_tokens=100, revision="2")
    assert again.stats()["tokens"] <= 100
    assert len(served.seen) - len(answered) == sum(r is not None for r in rest) <= 2


def test_a_money_budget_counts_both_prices(served) -> None:
    made, replies = ask(
        served, 9, max_usd=0.001, usd_per_mtok_in=20.0, usd_per_mtok_out=20.0, concurrency=1
    )
    # an answer costs 15 x 20e-6 = 0.0003; a request sets (19 + 8) x 20e-6 = 0.00054 aside
    assert sum(r is not None for r in replies) == 2
    assert made.stats()["usd"] == pytest.approx(0.0006)


def test_what_others_set_aside_and_do_not_use_can_be_used(served) -> None:
    # each sets 19 + 8 tokens aside and uses 15: 8 fit into 130, at most 4 at a time
    made, replies = ask(served, 8, max_tokens=132, concurrency=8)
    assert [r is not None for r in replies] == [True] * 8
    assert made.stats()["tokens"] == 120


def test_the_rate_limit_spaces_requests(served) -> None:
    ask(served, 4, requests_per_minute=600, concurrency=4)
    times = sorted(served.times)
    assert times[-1] - times[0] >= 0.2  # at once without the limit


def test_a_missing_key_and_a_half_section_are_refused_before_the_start(monkeypatch) -> None:
    config = TeacherConfig(base_url="http://x/v1", model="m", key_env="NO_SUCH_KEY")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"NO_SUCH_KEY.*is not set"):
        endpoint.key_from_env(config)
    monkeypatch.setenv("NO_SUCH_KEY", "k")
    assert endpoint.key_from_env(config) == "k"
    assert endpoint.key_from_env(TeacherConfig()) == ""
    for bad, said in (("base_url: http://x", "write the endpoint's model"),
                      ("base_url: x, model: m", "https://host/v1"),
                      ("max_usd: 1", "usd_per_mtok_in")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            load_config(None, [f"generate.teacher={{{bad}}}"])


def test_a_broken_answer_file_counts_as_none(tmp_path) -> None:
    kept, key = Answers(tmp_path), key_of("m", [1, 2])
    assert kept.get(key) is None
    kept.put(key, {"text": "x"})
    assert kept.get(key) == {"text": "x"}
    kept.path(key).write_text('{"te')
    assert kept.get(key) is None
    assert key_of("m", [1, 2]) != key_of("m", [1, 3])
    assert not list(tmp_path.rglob("*.tmp"))
