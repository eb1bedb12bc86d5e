"""What of the config is in the key of which step: every field of every section, one at a time.

A field that is missing in the table goes by the section above it, so that a new option is in the
key of its step unless it is written down here that it changes no output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest

from raytune_agents.config import Config, load_config
from raytune_agents.config.base import BaseConfig, json_values
from raytune_agents.infra.provenance import marks, module_files
from raytune_agents.pipeline.context import Context
from raytune_agents.pipeline.keys import contents, outside, sections
from raytune_agents.pipeline.train import arm_step, mixed_rows
from raytune_agents.progress import Display
from raytune_agents.records import content_hash
from raytune_agents.runs import STEPS, Step
from raytune_agents.train.job import Job, fingerprint

# option -> the steps whose output it changes
DECIDES = {
    "name": "", "runs_dir": "", "sandbox": "", "resources": "", "export": "",
    "seed": " ".join(STEPS),
    "model": "generate mix train evaluate tune",
    "read": "read",
    "read.max_error_share": "",
    "generate": "generate",
    "generate.agents": "generate evaluate",
    "generate.cache": "", "generate.tool_timeout_s": "", "generate.tool_memory_mib": "",
    "generate.teacher.key_env": "", "generate.teacher.concurrency": "",
    "generate.teacher.requests_per_minute": "", "generate.teacher.timeout_s": "",
    "generate.teacher.retries": "", "generate.teacher.wait_s": "",
    "generate.teacher.max_tokens": "", "generate.teacher.max_usd": "",
    "generate.teacher.usd_per_mtok_in": "", "generate.teacher.usd_per_mtok_out": "",
    "negatives": "generate",
    "label": "label",
    "label.partitions": "",
    "mix": "mix tune",
    "mix.weights": "mix evaluate tune",
    "train": "train tune",
    "train.arms": "mix train evaluate",
    "train.curve": "train",
    "train.dpo": "mix train tune", "train.grpo": "mix train tune",
    "train.nat": "train evaluate tune",
    "train.num_workers": "", "train.sharding": "", "train.offload": "",
    "train.label_selector": "", "train.max_tokens_per_forward": "", "train.padding_free": "",
    "train.save_steps": "", "train.max_failures": "", "train.gradient_checkpointing": "",
    "train.max_loss": "", "train.report_to": "", "train.grpo.vllm_gpu_memory_utilization": "",
    "train.grpo.stop": "",
    "evaluate": "evaluate",
    "evaluate.sources": "label evaluate",
    "evaluate.confidence": "evaluate tune",
    "evaluate.shard_rows": "", "evaluate.max_concurrency": "", "evaluate.general.timeout_s": "",
    "tune": "tune",
    "tune.max_concurrent_trials": "", "tune.num_workers": "",
    "budget": "tune",
    "engine": "generate evaluate",
    "engine.actors": "", "engine.tensor_parallel_size": "", "engine.kv_cache_gib": "",
    "engine.gpu_memory_utilization": "", "engine.label_selector": "", "engine.retries": "",
    "engine.timeout_s": "", "engine.serve": "",
}  # fmt: skip


def variants(value: Any, path: str = "", kind: Any = None) -> Iterator[tuple[str, Any]]:
    """(dotted name, `value` with that one field changed) of every field below it; entries of a list
    or dict have the name of the list. `kind`: the field's type."""
    if isinstance(value, BaseConfig):
        for name, info in type(value).model_fields.items():
            where = f"{path}.{name}".lstrip(".")
            for longer, other in variants(getattr(value, name), where, info.annotation):
                yield longer, value.model_copy(update={name: other})
    elif isinstance(value, dict) and any(isinstance(v, BaseConfig) for v in value.values()):
        for key, inside in value.items():
            yield from ((where, value | {key: other}) for where, other in variants(inside, path))
    elif isinstance(value, list) and any(isinstance(v, BaseConfig) for v in value):
        for k, inside in enumerate(value):
            for where, other in variants(inside, path):
                yield where, [*value[:k], other, *value[k + 1 :]]
    elif get_origin(kind) is Literal:
        yield path, next(word for word in get_args(kind) if word != value)
    else:
        yield path, another(value)


def another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case list() | tuple():
            return [*value, "x"]
        case dict():
            return value | {"x": "y"}
    return 7


def step_hashes(config: Config) -> dict[str, str]:
    return {
        step: content_hash([json_values(sections(config, step), deciding=True), config.seed])
        for step in STEPS
    }


def expected(name: str) -> set[str]:
    while name not in DECIDES:
        name = name.rpartition(".")[0]
    return set(DECIDES[name].split())


def test_every_option_is_in_the_keys_of_the_steps_whose_output_it_changes() -> None:
    words = ["evaluate.sources={more: {path: bfcl}}", "train.grpo.turns=1"]
    config = load_config(None, words)
    before, seen = step_hashes(config), set()
    for name, changed in variants(config):
        after = step_hashes(changed)
        found = {step for step in STEPS if after[step] != before[step]}
        assert found == expected(name), name
        seen.add(name)
    assert len(seen) > 200
    assert {
        name for name in DECIDES if not any(f"{s}.".startswith(f"{name}.") for s in seen)
    } == set()


def test_what_a_step_reads_only_at_times_is_in_its_key_then() -> None:
    def steps_of(name: str, *words: str) -> set[str]:
        config = load_config(None, list(words))
        before = step_hashes(config)
        (changed,) = {id(c): c for where, c in variants(config) if where == name}.values()
        after = step_hashes(changed)
        return {step for step in STEPS if after[step] != before[step]}

    assert steps_of("generate.teacher.model") == {"generate"}
    assert steps_of("generate.teacher.model", "evaluate.judge.rows=1") == {"generate", "evaluate"}
    assert steps_of("evaluate.limit") == {"evaluate"}
    assert steps_of("evaluate.limit", "tune.confirm=1") == {"evaluate", "tune"}
    rounds = "train.arms={r: {method: rounds}}"
    assert steps_of("engine.max_model_len", rounds) == {"generate", "train", "evaluate"}
    assert steps_of("generate.rows", rounds) == {"generate", "train"}
    assert steps_of("engine.timeout_s", rounds) == set()
    sharded = ("train.sharding=zero2", "train.num_workers=2")  # its checkpoints are of two workers
    assert steps_of("train.num_workers", *sharded) == {"train", "tune"}


def test_an_arm_is_trained_again_only_for_what_trains_it() -> None:
    train = load_config(None, ["train.arms={n: {method: nat}, s: {}}"]).train
    own = train.of(train.arms["n"]).deciding()

    def changed(**options: Any) -> bool:
        arm = train.arms["n"].model_copy(update=options)
        return train.of(arm).deciding() != own

    assert not changed(ask_unmarked=True)
    assert not changed(options={"max_loss": 60.0, "save_steps": 7, "num_workers": 2,
                                "sharding": "ddp", "gradient_checkpointing": True})  # fmt: skip
    assert changed(options={"lora.r": 4})
    assert changed(learning_rate=1e-4)
    alone = load_config(None, ["train.arms={n: {method: nat}}"]).train
    assert alone.of(alone.arms["n"]).deciding() == own


def test_a_checkpoint_goes_on_under_the_options_that_its_key_leaves_out(tmp_path) -> None:
    train = load_config(None, ["train.sharding=fsdp", "train.num_workers=2"]).train
    other = {
        "max_tokens_per_forward": 99, "padding_free": False, "save_steps": 9, "max_failures": 9,
        "gradient_checkpointing": True, "offload": True, "max_loss": 9.0, "report_to": [],
        "label_selector": {"zone": "a"},
    }  # fmt: skip
    assert set(other) == type(train).OPERATIONAL

    def mark(**options: Any) -> dict[str, Any]:
        config = train.model_copy(update=options)
        return fingerprint(Job("m", "auto", "", "sft", config, {}, str(tmp_path), 1, 1))

    for name, value in other.items():
        assert mark(**{name: value}) == mark(), name
    assert mark(sharding="none", num_workers=0) == mark(sharding="ddp", num_workers=4)
    assert mark(num_workers=4) != mark()  # FSDP's checkpoints are of so many workers
    assert mark(weight_decay=0.1) != mark()


def test_an_arm_is_trained_again_where_the_files_that_decide_it_change(tmp_path) -> None:
    model, own, other = (tmp_path / n for n in ("model", "own", "other"))
    for folder in (model, own, other):
        folder.mkdir()
        (folder / "weights.safetensors").write_text("1")
    tasks = tmp_path / "lm_eval" / "group"
    tasks.mkdir(parents=True)
    (tasks / "task.yaml").write_text("task: a")
    spec = tmp_path / "agent.yaml"
    spec.write_text("name: a")
    arms = {"n": {"options": {"lora.start": str(own)}},
            "s": {"options": {"lora.start": str(other)}},
            "g": {"method": "grpo", "options": {"grpo.turns": 2, "grpo.rewards": ["goal"],
                                                "grpo.reward_weights": [1.0]}}}  # fmt: skip
    config = load_config(None, [
        f"model.name={model}", f"train.arms={json.dumps(arms)}", f"generate.agents=[{spec}]",
        f"evaluate.general={{tasks: [a], include_path: {tmp_path / 'lm_eval'}}}",
    ])  # fmt: skip
    assert tasks / "task.yaml" in outside(config, "evaluate")

    def found() -> dict[str, str]:
        step = Step("train", tmp_path, {}, {}, 0, content=marks(outside(config, "train")))
        return {n: arm_step(config, step, n, {}).key for n in config.train.arms} | {"": step.key}

    def changed(path) -> set[str]:
        before = found()
        path.write_text("2")
        now = found()
        return {n for n in now if now[n] != before[n]}

    answers = contents(config.model)
    assert changed(model / "weights.safetensors") == {"n", "s", "g", ""}
    assert contents(config.model) != answers
    assert changed(own / "weights.safetensors") == {"n", ""}
    assert changed(other / "weights.safetensors") == {"s", ""}
    assert changed(spec) == {"g", ""}


def test_whatever_code_of_the_user_a_function_reaches_decides_its_step(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    code = {
        here / "hook.py": "import far, pack\nTABLE = open('table.json')\n"
        "LIST = Path('data') / 'list.txt'\n"
        "from importlib import import_module\nlate = import_module('named.part')\n",
        elsewhere / "far.py": "import further\n",
        elsewhere / "further.py": "",
        here / "pack" / "__init__.py": "import near\n",
        here / "pack" / "inner.py": "",
        here / "near.py": "",
        here / "named" / "part.py": "",
        here / "table.json": "[]",
        here / "data" / "list.txt": "",
    }
    for path, text in code.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        monkeypatch.syspath_prepend(str(here))
    (here / "unrelated.py").write_text("")
    monkeypatch.syspath_prepend(str(elsewhere))
    assert set(module_files("hook:function")) == set(code)
    (here / "antigravity.py").write_text("")  # the name of one of Python's own
    assert module_files("antigravity:f") == [here / "antigravity.py"]
    assert module_files("json:loads") == module_files("no_such_module:f") == []


def test_a_link_that_leads_to_a_file_of_equal_times_is_another_file(tmp_path):
    link, files = tmp_path / "now.jsonl", [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for file in files:
        file.write_text(file.name)
    link.symlink_to(files[0])
    before = marks([link])
    equal = marks([files[1]])[str(files[1])]
    # as where both were written in one tick of the clock
    before[str(link)] = before[str(link)].model_copy(
        update={"mtime_ns": equal.mtime_ns, "ctime_ns": equal.ctime_ns}
    )
    link.unlink()
    link.symlink_to(files[1])
    assert marks([link], before)[str(link)].content == equal.content


def test_an_arm_that_is_newer_than_the_mix_is_named(tmp_path):
    config = load_config(None, [f"runs_dir={tmp_path}", "train.arms={late: {method: sft}}"])
    context = Context(config, Display())
    step = Step("train", tmp_path, {}, {}, 1)
    with pytest.raises(FileNotFoundError, match=r"train\.arms\.late .* --steps mix,train"):
        mixed_rows(context, step, "late")
    context.close()
