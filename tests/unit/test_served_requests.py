"""Engines behind a Ray Serve LLM app: its arguments, requests and replies, refusals. The app
itself is asked by `tests/ray/test_serve_app.py`."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
from pathlib import Path

import httpx
import pytest
import yaml

from raytune_agents import models
from raytune_agents.chat import Chat
from raytune_agents.config import ConfigError, build_config
from raytune_agents.inference.admission import Turns
from raytune_agents.inference.client import Sampling, arm_of, folder_of
from raytune_agents.inference.options import SERVE_PACKAGES, validate_engine_options
from raytune_agents.inference.serve import (
    ServedEngine,
    as_they_are,
    completion_reply,
    completion_request,
    serve_args,
    serve_config,
)
from raytune_agents.records import ToolCall
from raytune_agents.templates import ServingOptions

SERVES = all(importlib.util.find_spec(name) for name in SERVE_PACKAGES)
LABELS = {"ray.io/market-type": "!spot"}


def engine_of(**options):
    return build_config({"engine": {"serve": True, **options}}).engine


# --- refusals ---


@pytest.mark.skipif(not SERVES, reason="needs the extra serve")
def test_a_served_engine_is_accepted() -> None:
    validate_engine_options(build_config({"engine": {"serve": True}}))


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"label_selector": LABELS, "actors": 2},
         r"engine\.label_selector=.*with engine\.serve=true.*write engine\.label_selector=\{\}"),
        ({"options": {"distributed_executor_backend": "mp"}},
         r"distributed_executor_backend='mp' with engine\.serve=true.*leave it out"),
        ({"options": {"served_model_name": "mine"}}, r"engine\.options\.served_model_name='mine'"),
    ],
)  # fmt: skip
def test_what_an_app_does_not_take_is_refused_before_anything_starts(engine, says) -> None:
    validate_engine_options(build_config({"engine": engine}))
    with pytest.raises(ConfigError, match=says):
        validate_engine_options(build_config({"engine": {"serve": True, **engine}}))


def test_without_serves_packages_the_extra_is_named(monkeypatch) -> None:
    whole = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "uvicorn" else whole(name)
    )
    with pytest.raises(ConfigError, match=r"engine.serve=true needs uvicorn: pip install .*serve"):
        validate_engine_options(build_config({"engine": {"serve": True}}))


def test_a_ray_without_tokens_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match=r"RAY_AUTH_MODE=disabled.*write RAY_AUTH_MODE=token"):
        validate_engine_options(build_config({"engine": {"serve": True}}))


def test_who_serves_does_not_decide_the_output() -> None:
    assert engine_of().deciding() == engine_of(serve=False).deciding()


# --- the app ---


def test_an_app_scales_from_one_replica_to_the_engines_of_the_placement() -> None:
    engine = engine_of(actors=6, tensor_parallel_size=2, options={"max_num_seqs": 64})
    args = serve_args(Path("/m"), "auto", engine, 16, 12, engine.options | {"max_loras": 2})
    (model,) = args["llm_configs"]
    given, deployed = model["engine_kwargs"], model["deployment_config"]
    assert (given["dtype"], given["tensor_parallel_size"], given["max_loras"]) == ("bfloat16", 2, 2)
    assert given["max_num_seqs"] == deployed["autoscaling_config"]["target_ongoing_requests"] == 64
    assert deployed["autoscaling_config"]["min_replicas"] == 1
    assert deployed["autoscaling_config"]["max_replicas"] == 6
    assert "TokenPrefixRouter" in deployed["request_router_config"]["request_router_class"]
    assert model["placement_group_config"]["bundle_per_worker"] == {"GPU": 1}
    patience = args["ingress_deployment_config"]["ray_actor_options"]["runtime_env"]["env_vars"]
    assert patience == {"RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT": "900"}
    file = serve_config("raytune-engine-1", args)  # what `serve run` reads
    assert yaml.safe_load(yaml.safe_dump(file)) == file
    assert file["http_options"]["host"] == "127.0.0.1"


def test_on_a_cpu_one_replica_takes_no_cpus_and_has_no_router() -> None:
    (model,) = serve_args(Path("/m"), "float32", engine_of(), 2, 0, {})["llm_configs"]
    assert model["engine_kwargs"]["dtype"] == "float32"
    assert model["engine_kwargs"]["enable_chunked_prefill"] is False
    assert model["accelerator_config"] == {"kind": "cpu"}
    assert model["deployment_config"]["ray_actor_options"] == {"num_cpus": 0}
    assert "request_router_config" not in model["deployment_config"]
    assert model["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "2"


def test_new_weights_in_an_old_folder_are_another_arm(tmp_path: Path) -> None:
    file = tmp_path / "adapter_model.safetensors"
    file.write_text("")
    os.utime(file, ns=(1, 1))
    before = arm_of(str(tmp_path))
    os.utime(file, ns=(2, 2))
    assert before == f"{tmp_path}@1" != arm_of(str(tmp_path))
    assert folder_of(before) == str(tmp_path)
    assert arm_of("") == folder_of("") == ""


# --- requests and replies ---


def test_a_request_says_all_that_the_models_own_files_could_change() -> None:
    body = completion_request([5, 6], Sampling(), "", ServingOptions(stop_token_ids=(2,)))
    assert body == {
        "model": "base", "prompt": [5, 6], "max_tokens": 64, "temperature": 0.0, "n": 1,
        "stop_token_ids": [2], "skip_special_tokens": True, "return_token_ids": True,
        "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0,
    }  # fmt: skip


def test_a_request_asks_all_that_a_sampling_says() -> None:
    sampling = Sampling(
        max_tokens=9, temperature=0.7, n=3, seed=0, schema='{"type": "object"}', logprobs=True,
        score=True, cache_salt="s", tools="[]",
    )  # fmt: skip
    body = completion_request([5], sampling, "/arm@1", ServingOptions())
    asked = {
        "n": 3, "seed": 0, "temperature": 0.7, "max_tokens": 9, "logprobs": 0,
        "prompt_logprobs": 0, "structured_outputs": {"json": '{"type": "object"}'},
        "cache_salt": "s", "skip_special_tokens": False, "vllm_xargs": {"arm": "/arm@1"},
    }  # fmt: skip
    assert asked.items() <= body.items()


@pytest.fixture(scope="module")
def parser():
    pytest.importorskip("vllm")
    from raytune_agents.inference.replies import ServerParser

    config = build_config({}).model
    chat = Chat.of(models.resolve(config), config)
    return ServerParser(chat.serving, chat.tokenizer)


def choice(index: int, text: str, ids: list[int], **more) -> dict:
    return {"index": index, "text": text, "token_ids": ids, "finish_reason": "stop", **more}


def test_a_reply_holds_what_an_engine_gives(parser) -> None:
    scored = [None, {"11": {"logprob": -0.5, "rank": 1}}, {"12": {"logprob": -2.0, "rank": 7}}]
    body = {
        "choices": [
            choice(1, "b", [4, 5, 6], finish_reason="length",
                   logprobs={"token_logprobs": [-1.0, -0.25, -0.5]}),
            choice(0, "a", [3], logprobs={"token_logprobs": [-0.125]},
                   prompt_token_ids=[10, 11, 12], prompt_logprobs=scored),
        ],
    }  # fmt: skip
    reply = completion_reply(body, 1.5, "", parser)
    assert (reply.texts, reply.output_tokens, reply.cut) == (["a", "b"], [1, 3], [False, True])
    assert (reply.prompt_ids, reply.input_tokens) == ([10, 11, 12], 3)
    assert (reply.logprobs, reply.prompt_logprobs) == ([-0.125, -1.75], [-0.5, -2.0])
    assert (reply.latency_s, reply.first_token_s) == (1.5, 0.0)
    assert reply.calls == [None, None]


def test_a_single_answers_times_are_those_of_vllm_queueing_included(parser) -> None:
    times = {"queue_time_ms": 250.0, "time_to_first_token_ms": 500.0, "generation_time_ms": 1000.0}
    body = {"choices": [choice(0, "a", [3], prompt_token_ids=[10])], "metrics": times}
    reply = completion_reply(body, 9.0, "", parser)
    assert (reply.first_token_s, reply.latency_s) == (0.75, 1.75)
    assert (reply.logprobs, reply.prompt_logprobs) == ([], [])


def test_with_tools_a_reply_has_the_calls_that_a_server_gives(parser) -> None:
    text = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    ids = parser.tokenizer(text, add_special_tokens=False)["input_ids"]
    body = {"choices": [choice(0, text, ids, prompt_token_ids=[10])]}
    (calls,) = completion_reply(body, 1.0, json.dumps(tools), parser).calls
    assert calls == (ToolCall("add", '{"a": 1}'),)


# --- what the app's answers mean to a caller ---


def served(answer) -> ServedEngine:
    """An actor's inside in front of an app that answers so."""
    it = ServedEngine.__new__(ServedEngine)  # without a tokenizer
    it.serving, it.timeout_s, it.parser = ServingOptions(), 5.0, None
    it.turns = Turns(as_they_are, 1)
    transport = httpx.MockTransport(answer)
    it.http = httpx.AsyncClient(transport=transport, base_url="http://app")
    return it


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, RuntimeError, "status 400: no"),  # the prompt's own doing
        (500, ConnectionError, "status 500: no"),  # a replica died, with all that it answered
        (503, ConnectionError, "status 503: no"),
        (None, ConnectionError, "ConnectError: refused"),
    ],
)
def test_an_outage_of_the_app_is_told_from_a_refusal(status, error, says) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, text="no")

    with pytest.raises(error, match=says):
        asyncio.run(served(answer).answer([1, 2], Sampling()))


def test_who_holds_it_is_asked_though_all_slots_wait() -> None:
    seen: list[list[int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content)["prompt"])
        return httpx.Response(400)

    async def main() -> None:
        it = served(answer)
        ticket = await it.hold()
        others = [asyncio.ensure_future(it.answer([k], Sampling())) for k in (1, 2)]
        await asyncio.sleep(0.01)
        with pytest.raises(RuntimeError):
            await it.answer([0], Sampling(), "", ticket)
        assert seen == [[0]]
        await it.release(ticket)
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(main())
    assert seen == [[0], [1], [2]]
