"""The one engine: training text is prompt text, restarts, outages, adapters in place."""

from __future__ import annotations

import os
import random
import re
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import product

import psutil
import pytest
import ray
from conftest import TINY

from raytune_agents import models
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import load_config
from raytune_agents.evaluate import likelihood
from raytune_agents.evaluate.baselines import Arm
from raytune_agents.evaluate.harness import Asker, answer_shard, with_answer_limit
from raytune_agents.evaluate.scoring import REPLY_VALUES
from raytune_agents.inference import client, engine
from raytune_agents.inference.client import Sampling
from raytune_agents.infra import cluster
from raytune_agents.pipeline.shards import cut
from raytune_agents.storage import read_rows
from raytune_agents.train import nat


@pytest.fixture(scope="module")
def warm(local_ray):
    """Ray, the model's chat, and a running engine in fp32 whose actor may restart once."""
    config = load_config(TINY, ["engine.retries=1", "engine.timeout_s=240", "model.max_length=900"])
    path = models.resolve(config.model)
    have = cluster.connect(config.resources)
    sizes = {"cpus": have.cpus, "gpus": 0, "seed": 1}
    (handle,), _ = engine.start_engines(path, "float32", config.engine, **sizes)
    yield config, Chat.of(path, config.model), handle
    ray.kill(handle)


def test_training_text_is_the_engines_prompt_for_every_kind_of_row(warm, tiny) -> None:
    config, chat, _ = warm
    kinds = {}
    for row in read_rows(tiny[0] / "label"):
        if row.target and not row.reject_reason and row.split == "train":
            kinds.setdefault(row.pool, row)
    assert len(kinds) >= 8
    words = ("", *nat.words(config.train.nat))
    rows = list(kinds.values())
    asked = [chat.prompt_ids(row, words[k % len(words)]) for k, row in enumerate(rows)]
    replies = client.ask(asked, [Sampling(max_tokens=1)] * len(rows))
    assert [reply.prompt_ids for reply in replies] == asked
    for row, marked in product(rows, words):
        example, prompt = chat.encode(row, marked)[-1], chat.prompt_ids(row, marked)
        text, end = chat.prompt_text(row, marked), len(prompt)
        assert prompt == example.input_ids[:end]  # up to the last answer
        assert example.labels[end - 1] == IGNORE != example.labels[end]
        assert chat.tokenizer.decode(prompt) == text
        assert (marked in text) is bool(marked) or not marked


def test_a_marker_stands_in_the_question_only(warm, tiny) -> None:
    config, chat, _ = warm
    row = next(r for r in read_rows(tiny[0] / "label") if r.fault and not r.reject_reason)
    word = nat.marker(row, config.train)
    assert word == nat.words(config.train.nat)[0]
    plain, marked = chat.encode(row)[-1], chat.encode(row, word)[-1]
    assert [x for x in plain.labels if x != IGNORE] == [x for x in marked.labels if x != IGNORE]
    text = chat.tokenizer.decode(marked.input_ids)
    assert text.replace("\n" + word, "") == chat.tokenizer.decode(plain.input_ids)


def test_vllms_statistics_reach_rays_exporter(warm) -> None:
    _, chat, _ = warm
    prompt = chat.chat_ids([{"role": "user", "content": "Count to 9. " * 90}])  # whole blocks
    for _ in range(3):
        client.ask([prompt], [Sampling(max_tokens=4)])
    url = "http://{NodeManagerAddress}:{MetricsExportPort}/metrics".format(**ray.nodes()[0])
    asked = ("time_to_first_token_seconds_count", "kv_cache_usage_perc", "num_requests_running",
             "prefix_cache_queries_total", "prefix_cache_hits_total")  # fmt: skip
    missing, stop = set(asked), time.monotonic() + 40
    while missing and time.monotonic() < stop:
        time.sleep(1)
        found = urllib.request.urlopen(url, timeout=10).read().decode()
        missing -= {name for name in asked if f"\nray_vllm_{name}{{" in found}  # gauges come and go
        client.ask([prompt], [Sampling(max_tokens=1)])
    assert not missing, sorted(set(re.findall(r"ray_vllm_\w+", found)))
    count = re.search(r"ray_vllm_time_to_first_token_seconds_count{.*} ([\d.]+)", found).group(1)
    assert float(count) >= 3


def test_greedy_answers_do_not_depend_on_the_batch(warm) -> None:
    _, chat, _ = warm
    prompts = [chat.chat_ids([{"role": "user", "content": f"Count to {n}."}]) for n in range(6)]
    sampling = client.Sampling(max_tokens=12)
    together = client.ask(prompts, [sampling] * 6)
    alone = [client.ask([p], [sampling])[0] for p in prompts[::-1]][::-1]
    assert [r.texts for r in together] == [r.texts for r in alone]


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["base", "nat"])
def test_greedy_results_are_equal_for_any_order_and_any_shards(warm, tiny, arm) -> None:
    """Rows in three orders, asked in shards of 1, 5 and all at once: every answer and every score
    is that of the first time (fp32; in bf16 a batch changes them)."""
    config, chat, _ = warm
    rows = [r for r in read_rows(tiny[0] / "read") if r.split == "test_unseen"]
    rows = sorted((r for r in rows if not r.reject_reason), key=lambda r: r.id)[:20]
    adapter = "" if arm == "base" else str(tiny[0] / "train" / arm / "adapter")
    options = with_answer_limit(rows, chat, config.evaluate, config.engine)
    asker = Asker.of(Arm(arm, adapter), chat, options, config.engine)
    found = []
    for seed, size in ((0, 20), (1, 5), (2, 1)):
        order = random.Random(seed).sample(rows, len(rows))
        answers = [
            answer.record()
            for part in cut(order, size)
            for answer in answer_shard(part, asker)
        ]
        measured = set(REPLY_VALUES)
        found.append({a["id"]: {k: v for k, v in a.items() if k not in measured} for a in answers})
    assert len(found[0]) == 20
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
def test_perplexity_is_that_of_the_model_itself(warm, tiny) -> None:
    """The engine's log-probabilities of answers against a forward pass of transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    config, chat, _ = warm
    rows = [r for r in read_rows(tiny[0] / "read") if r.split == "val" and r.calls][:4]
    asker = Asker(Arm("base"), chat, 1, config.engine.max_model_len - 1)
    lines = likelihood.measure_shard(rows, asker)
    model = AutoModelForCausalLM.from_pretrained(chat.path, dtype=torch.float32).eval()
    for row, line in zip(rows, lines):
        example = chat.encode(row)[-1]
        with torch.no_grad():
            logits = model(torch.tensor([example.input_ids])).logits[0, :-1]
        labels = torch.tensor(example.labels[1:])
        nll = torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE)
        assert line["nll"] == pytest.approx(nll.item(), abs=2e-3)
        assert line["tokens"] == example.trained_tokens


def test_an_adapter_answers_as_in_peft_and_takes_turns_with_the_base(warm, tiny) -> None:
    """Asked at the same time, each gets the answer of its own weights."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    _, chat, _ = warm
    folder = tiny[0] / "train" / "nat" / "adapter"
    prompt = chat.chat_ids([{"role": "user", "content": "Name a colour."}])
    arms, sampling = ["", str(folder)], client.Sampling(max_tokens=12)
    base, tuned = (client.ask([prompt], [sampling], adapter=arm)[0].texts for arm in arms)
    with ThreadPoolExecutor(6) as pool:
        two = [[prompt] * 2, [sampling] * 2]
        asked = [pool.submit(client.ask, *two, adapter=arm) for arm in arms * 3]
        for k, found in enumerate(asked):
            assert [r.texts for r in found.result(240)] == [(base, tuned)[k % 2]] * 2
    model = AutoModelForCausalLM.from_pretrained(chat.path, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, folder).merge_and_unload()
    out = merged.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0]
    assert chat.tokenizer.decode(out[len(prompt) :], skip_special_tokens=True) == tuned[0]


def test_constrained_answers_are_the_json_asked_for(warm) -> None:
    import json

    _, chat, _ = warm
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
              "additionalProperties": False}  # fmt: skip
    prompt = chat.chat_ids([{"role": "user", "content": "Is water wet? JSON."}])
    reply = client.ask([prompt], [client.Sampling(16, schema=json.dumps(schema))])[0]
    assert isinstance(json.loads(reply.texts[0])["ok"], bool)


def test_every_sample_carries_its_log_probability(warm) -> None:
    """Against transformers' own, token by token in fp32."""
    import torch
    from transformers import AutoModelForCausalLM

    _, chat, _ = warm
    prompt = chat.chat_ids([{"role": "user", "content": "Name a colour."}])
    greedy, some = client.Sampling(6, logprobs=True), client.Sampling(6, 1.0, 3, 5, logprobs=True)
    one, three = client.ask([prompt, prompt], [greedy, some])
    model = AutoModelForCausalLM.from_pretrained(chat.path, dtype=torch.float32)
    out = model.generate(
        torch.tensor([prompt]), max_new_tokens=6, do_sample=False, output_logits=True,
        return_dict_in_generate=True)  # fmt: skip
    ids = out.sequences[0, len(prompt) :]
    assert chat.tokenizer.decode(ids, skip_special_tokens=True) == one.texts[0]
    known = torch.stack(out.logits)[:, 0].log_softmax(-1).gather(1, ids[:, None]).sum().item()
    assert one.logprobs == pytest.approx([known], abs=1e-3)
    assert len(three.texts) == len(three.logprobs) == 3
    assert max(three.logprobs) <= 0.0
    assert client.ask([prompt], [client.Sampling(2)])[0].logprobs == []


def pid_of(handle) -> int:
    return ray.get(handle.__ray_call__.remote(lambda self: os.getpid()))


def asked_of(handles: list) -> list[int]:
    """Requests that each engine has had."""
    count = [h.__ray_call__.remote(lambda e: next(copy(e.names))) for h in handles]
    return ray.get(count)


@pytest.mark.faults
def test_an_engine_killed_in_the_middle_restarts_and_no_row_is_lost(warm) -> None:
    _, chat, handle = warm
    chats = [[{"role": "user", "content": f"Tell a story about {n} rivers."}] for n in range(4)]
    prompts, sampling = [chat.chat_ids(c) for c in chats], [client.Sampling(max_tokens=32)] * 4
    undisturbed = client.ask(prompts, sampling)
    pid, [before] = pid_of(handle), asked_of([handle])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.ask, prompts, sampling)
        while asked_of([handle])[0] < before + len(prompts) and not asked.done():
            time.sleep(0.05)
        assert not asked.done()
        os.kill(pid, signal.SIGKILL)
        replies = asked.result(240)
    assert [r.texts for r in replies] == [r.texts for r in undisturbed]
    assert pid_of(handle) != pid


def test_a_prompt_that_vllm_refuses_is_lost_alone(warm) -> None:
    config, chat, handle = warm
    pid, short = pid_of(handle), chat.chat_ids([{"role": "user", "content": "Say 1."}])
    long = short * (1 + config.engine.max_model_len // len(short))
    replies = client.ask([short, long, short], [client.Sampling(max_tokens=2)] * 3)
    assert [type(r) for r in replies] == [client.Reply, client.Lost, client.Reply]
    assert "max_model_len" in replies[1].why or "maximum" in replies[1].why
    assert pid_of(handle) == pid


@pytest.mark.slow
def test_vllms_child_process_answers_alike_and_ends_with_its_actor(warm) -> None:
    """AsyncLLM, which engines on GPUs use, here on CPU."""
    config, chat, _ = warm
    prompt, sampling = chat.chat_ids([{"role": "user", "content": "Name a colour."}]), Sampling(8)
    actor = ray.remote(engine.Engine).options(
        runtime_env={"env_vars": engine.environment(config.engine, 2, gpu=False)}
    )
    options = config.engine.model_dump()
    apart = actor.remote(str(chat.path), "float32", options, False, 1, {}, in_process=False)
    reply = ray.get(apart.answer.remote(prompt, sampling))
    assert reply.texts == client.ask([prompt], [sampling])[0].texts
    children = psutil.Process(pid_of(apart)).children(recursive=True)
    assert children
    os.kill(pid_of(apart), signal.SIGKILL)
    assert psutil.wait_procs(children, timeout=20)[1] == []


@pytest.mark.slow
def test_a_pool_shares_the_work_and_goes_on_without_a_dead_actor() -> None:
    config = load_config(TINY, ["engine.actors=2", "engine.max_model_len=256"])
    path = models.resolve(config.model)
    have = cluster.connect(config.resources)
    try:
        sizes = {"cpus": have.cpus, "gpus": 0, "seed": 1}
        handles, _ = engine.start_engines(path, "float32", config.engine, **sizes)
        assert client.living() == [client.ACTOR, f"{client.ACTOR}-1"]
        chat, sampling = Chat.of(path, config.model), [client.Sampling(max_tokens=4)] * 8
        prompts = [chat.chat_ids([{"role": "user", "content": f"Say {n}."}]) for n in range(8)]
        client.client_of.cache_clear()  # the module's client knows one engine
        began = asked_of(handles)
        before = [r.texts for r in client.ask(prompts, sampling)]
        assert [now - then for now, then in zip(asked_of(handles), began)] == [4, 4]
        ray.kill(handles[1])
        assert [r.texts for r in client.ask(prompts, sampling)] == before
        assert client.living() == [client.ACTOR]
        ray.kill(handles[0])
        with pytest.raises(client.EngineDown):
            client.ask(prompts[:1], sampling[:1])
    finally:
        cluster.disconnect()
