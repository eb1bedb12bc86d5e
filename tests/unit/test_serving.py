"""The router by the openai client on loopback, in front of a server that names the model it was
asked for; and Ray Serve's own schema of what `export --serve` writes."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import uvicorn
import yaml
from openai import APIError, APIStatusError, OpenAI

from raytune_agents import models, serving
from raytune_agents.cli.summary import best_arm
from raytune_agents.cli.take_away import as_it_ran, serve_yaml, server_line, server_options
from raytune_agents.config import ConfigError, load_config
from raytune_agents.infra.placement import Resources
from raytune_agents.serving import (
    MAX_BODY,
    app,
    choose_arm,
    parse_routes,
    short_upstream_error,
)
from raytune_agents.storage import write_json
from raytune_agents.templates import ServingOptions

ROUTES = {
    "base": "base", "models": {"base": "base", "sft": "base:sft", "nat": "base:nat"},
    "agents": {"support": {"sft": 3.0, "nat": 1.0}},
}  # fmt: skip
HERMES = ServingOptions("hermes", "qwen3")


class Upstream(BaseHTTPRequestHandler):
    """A stand-in of a model server: answers with the model's name, streamed where asked."""

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        part = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        said = {"role": "assistant", "content": f"I am {body['model']}"}
        if body["messages"][0]["content"] == "fail":
            return self.send("application/json", b'{"error": {"message": "no"}}', 429)
        if body["messages"][0]["content"] == "break":
            return self.send("text/event-stream", b'data: {"id": "1"}\n\n', more=9)
        if body.get("stream"):
            part["object"] = "chat.completion.chunk"
            events = [part | {"choices": [{"index": 0, "delta": {"content": w}}]}
                      for w in said["content"].split()]  # fmt: skip
            lines = [f"data: {json.dumps(e)}\n\n" for e in events] + ["data: [DONE]\n\n"]
            return self.send("text/event-stream", "".join(lines).encode())
        whole = part | {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}
        self.send("application/json", json.dumps(whole).encode())

    def send(self, kind: str, data: bytes, status: int = 200, more: int = 0) -> None:
        """`more`: bytes that are promised and never come."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) + more))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[OpenAI, Path]]:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    log = tmp_path_factory.mktemp("serve") / "served.jsonl"
    routes = ROUTES | {"upstream": f"http://127.0.0.1:{upstream.server_port}"}
    made = app(parse_routes(routes), log)
    options = uvicorn.Config(made, host="127.0.0.1", port=0, log_level="error")
    server = uvicorn.Server(options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    stop = time.monotonic() + 20
    while not server.started and time.monotonic() < stop:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0), log
    server.should_exit = True
    thread.join(20)
    upstream.shutdown()


def ask(client: OpenAI, model: str, text: str = "hi", **more) -> str:
    messages = [{"role": "user", "content": text}]
    done = client.chat.completions.create(model=model, messages=messages, **more)
    return done.choices[0].message.content


def test_arm_agent_and_unknown_name(served) -> None:
    client, log = served
    assert ask(client, "nat") == "I am base:nat"
    assert ask(client, "nobody") == "I am base"
    assert ask(client, "support", user="u1") in ("I am base:sft", "I am base:nat")
    lines = [json.loads(x) for x in log.read_text().splitlines()]
    assert [(x["agent"], x["arm"]) for x in lines[:2]] == [("nat", "nat"), ("nobody", "base")]
    assert lines[2]["user"] == "u1"
    assert {m.id for m in client.models.list().data} == {"base", "sft", "nat", "support"}


def test_a_log_that_cannot_be_written_costs_no_answer(served, caplog) -> None:
    client, log = served
    kept = log.rename(log.with_name("kept.jsonl"))
    log.mkdir()
    try:
        assert ask(client, "nat") == "I am base:nat"
    finally:
        log.rmdir()
        kept.rename(log)
    assert "a request is not logged" in caplog.text


def test_a_stream_and_an_error_are_passed_on(served) -> None:
    client, log = served
    messages = [{"role": "user", "content": "hi"}]
    parts = client.chat.completions.create(model="sft", messages=messages, stream=True)
    assert [p.choices[0].delta.content for p in parts] == ["I", "am", "base:sft"]
    raw = client.chat.completions.with_raw_response.create(model="sft", messages=messages)
    assert raw.headers["x-raytune-arm"] == "sft"
    with pytest.raises(APIStatusError) as refused:
        ask(client, "sft", "fail")
    assert refused.value.status_code == 429
    assert json.loads(log.read_text().splitlines()[-1])["status"] == 429


def test_an_upstream_that_fails_in_its_answer_is_one_line_in_the_log() -> None:
    shown = []
    for error in (httpx.RemoteProtocolError("cut short"), ValueError("ours")):
        found = (type(error), error, None)
        record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "failed\n", (), found)
        assert short_upstream_error(record)
        shown.append(logging.Formatter().format(record))
    assert shown == ["the upstream failed in its answer (cut short)", "failed\nValueError: ours"]


def test_an_upstream_that_fails_in_its_answer_ends_no_stream(served) -> None:
    client, _ = served
    messages = [{"role": "user", "content": "break"}]
    with pytest.raises((APIError, httpx.HTTPError)):
        list(client.chat.completions.create(model="sft", messages=messages, stream=True))
    assert ask(client, "sft") == "I am base:sft"


def test_shares_are_kept_and_a_user_stays_with_an_arm() -> None:
    routes = parse_routes(ROUTES | {"upstream": "http://127.0.0.1:9"})
    arms = Counter(choose_arm("support", f"user {k}", routes)[0] for k in range(4000))
    assert arms["sft"] / 4000 == pytest.approx(0.75, abs=0.03)
    assert len({choose_arm("support", "user 7", routes) for _ in range(9)}) == 1


BODIES = [  # bytes, status
    (b"x", 400), (b"[]", 400), (b'{"a":"\xff"}', 400), (b'{"model":["x"]}', 400),
    (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    (b'{"temperature":NaN}', 400), (b'{"temperature":1e999}', 400), (b'{"seed":Infinity}', 400),
    (b'{"seed":' + b"9" * 5000 + b"}", 400), (b'{"user":"' + b"a" * (MAX_BODY + 9) + b'"}', 413),
    (b'{"model":"base","model":"nat"}', 400),
    (b'{"model":"nat","user":"\\ud800","messages":[{"role":"user","content":"\\udfff"}]}', 200),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BODIES, ids=[repr(b)[:30] for b, _ in BODIES])
def test_a_body_is_bounded_strict_json(served, body: bytes, status: int) -> None:
    url = f"{served[0].base_url}chat/completions"
    found = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=60)
    assert found.status_code == status, found.text[:300]
    if status >= 400:
        assert found.json()["error"]["message"]


def test_a_body_that_does_not_come_is_given_up(served, monkeypatch) -> None:
    monkeypatch.setattr(serving, "BODY_S", 0.2)
    url = served[0].base_url
    with socket.create_connection((url.host, url.port), timeout=20) as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert b" 408 " in slow.recv(99)


def test_pages_of_other_hosts_and_forms_are_refused(served) -> None:
    client, _ = served
    url, body = f"{client.base_url}chat/completions", b'{"model":"base"}'
    kinds = {"content-type": "application/json"}
    assert httpx.post(url, content=body, headers=kinds | {"host": "evil"}).status_code == 403
    assert httpx.get(f"{client.base_url}models", headers={"host": "evil:80"}).status_code == 403
    assert httpx.post(url, content=body, headers={"content-type": "text/plain"}).status_code == 415
    assert httpx.post(url, content=body).status_code == 415


def test_the_log_holds_no_more_than_a_name_of_a_field(served) -> None:
    client, log = served
    ask(client, "x" * 5000, user="u" * 5000)
    line = json.loads(log.read_text().splitlines()[-1])
    assert len(line["agent"]) == len(line["user"]) == 200


@pytest.mark.parametrize(
    "wrong", [{"agents": {"a": {"none": 1}}}, {"agents": {"a": {"sft": 0}}}, {"base": "x"}]
)
def test_routes_that_cannot_be_served_are_refused(wrong) -> None:
    with pytest.raises(ConfigError):
        parse_routes(ROUTES | {"upstream": "http://127.0.0.1:9"} | wrong)


@pytest.mark.parametrize(
    ("gpus", "begins"),
    [(0, "python -m vllm.entrypoints.openai.api_server --model"), (1, "vllm serve")],
)
def test_the_line_to_copy_names_parser_template_and_the_real_dtype(gpus, begins, tmp_path) -> None:
    have, config = Resources(8, gpus, 8, gpus, "L4" if gpus else ""), load_config(None)
    options = server_options(config, have, HERMES, tmp_path)
    line = server_line("sft", tmp_path / "a b", options, have)
    assert line.startswith(f"{begins} '{tmp_path}/a b' --served-model-name sft --host 127.0.0.1 ")
    real = "bfloat16" if models.bf16(config.model.dtype) else "float32"
    assert f" --dtype {config.model.dtype if gpus else real} " in line
    assert " --enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser qwen3" in line
    assert f" --chat-template {tmp_path}/chat_template.jinja " in line
    assert ("--no-enable-chunked-prefill" in line) is not bool(gpus)
    assert (f" --kv-cache-memory-bytes {1 << 30}" in line) is not bool(gpus)
    none = server_options(config, have, ServingOptions(), tmp_path)
    assert not {"tool_call_parser", "enable_auto_tool_choice", "reasoning_parser"} & set(none)


def test_what_was_auto_is_served_as_the_run_settled_it(tmp_path) -> None:
    given, ran = load_config(None), load_config(None, ["engine.max_model_len=2048"])
    assert as_it_ran(given, tmp_path) is given
    (tmp_path / "config.json").write_text(json.dumps(ran.model_dump(mode="json")))
    assert as_it_ran(given, tmp_path).engine.max_model_len == 2048
    have = Resources(8, 0, 8, 0, "")
    served = server_options(as_it_ran(given, tmp_path), have, HERMES, tmp_path)
    assert served["max_model_len"] == 2048
    stored = ran.model_dump(mode="json")
    # an option of another version: of a search nobody minds, of the engine it is named
    write_json(tmp_path / "config.json", stored | {"tune": stored["tune"] | {"gone": 1}})
    assert as_it_ran(given, tmp_path).engine.max_model_len == 2048
    write_json(tmp_path / "config.json", stored | {"engine": stored["engine"] | {"gone": 1}})
    with pytest.raises(ConfigError, match=r"config.json: .*gone"):
        as_it_ran(given, tmp_path)


def test_agents_are_answered_by_the_headline_arm(tmp_path) -> None:
    assert best_arm(tmp_path, ["dpo", "nat"]) == "dpo"  # nothing was evaluated
    write_json(tmp_path / "evaluate" / "verdict.json", {"arm": "nat"})
    assert best_arm(tmp_path, ["dpo", "nat"]) == "nat"
    assert best_arm(tmp_path, ["dpo"]) == "dpo"  # its adapter is gone


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 1])
def test_serve_yaml_fits_rays_schemas(gpus: int, tmp_path) -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="needs the extra serve")
    from ray.serve.llm import LLMServingArgs

    have = Resources(8, gpus, 8, gpus, "L4" if gpus else "")
    served = {"base": tmp_path} if gpus else {"base": tmp_path, "nat": tmp_path}
    config, lora = load_config(None), "s3://b/adapters" if gpus else ""
    options = {name: server_options(config, have, HERMES, tmp_path) for name in served}
    tree = yaml.safe_load(serve_yaml(config, have, served, options, lora))
    schema.ServeDeploySchema.model_validate(tree)
    args = tree["applications"][0]["args"]
    configs = LLMServingArgs.model_validate(args).llm_configs
    assert [c.model_id for c in configs] == list(served)
    assert bool(configs[0].lora_config) is bool(gpus)
    assert configs[0].engine_kwargs["tool_call_parser"] == "hermes"
    assert tree["http_options"]["host"] == "127.0.0.1"
