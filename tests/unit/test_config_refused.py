"""Configs that must not start: exit 2 before Ray, with the option and what to write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raytune_agents.cli.app import app
from raytune_agents.cli.shared_options import errors
from raytune_agents.config import ConfigError, load_config

TOOL = {"name": "add", "description": "adds", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}  # fmt: skip
ROW = {
    "messages": [
        {"role": "user", "content": "add 1"},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {
            "name": "add", "arguments": '{"a": 1}'}}]},
    ],
    "tools": [{"type": "function", "function": TOOL}],
}  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n")
    return path


def refused(source: Path, tmp_path: Path, *words: str) -> str:
    """What the command says; it must end with 2, before Ray."""
    own = [f"read.sources=[{{path: {source}}}]", f"runs_dir={tmp_path / 'runs'}"]
    with errors.capture() as said:
        done = CliRunner().invoke(app, ["run", *own, *words])
    text = done.output + said.get()
    assert done.exit_code == 2, (done.exception, text)
    assert "starting Ray" not in text
    assert "Traceback" not in text
    return text


CASES = [  # override, what the message names
    ("seed=abc", "seed='abc'"),
    ("seed=-1", "seed=-1"),
    ("seed=true", "seed=True: write a number"),
    ("train.learning_rate=true", "learning_rate=True: write a number"),
    ("train.num_workers=true", "num_workers=True: write a number"),
    (f"seed={'9' * 30}", "less than 4294967296"),
    ("train.learning_rate=.nan", "train.learning_rate=nan"),
    ("train.learning_rate=.inf", "train.learning_rate=inf"),
    ("train.learning_rate=-1", "train.learning_rate=-1"),
    ("train.learning_rate=fast", "Input should be 'auto' or a valid number"),
    ("train.learning_rate=1e9", "less than or equal to 100 (the largest"),
    ("train.learning_rat=1", "did you mean train.learning_rate?"),
    ("train.lr=1", "did you mean train.learning_rate?"),
    ("train.epochs=1", "did you mean train.num_train_epochs?"),
    ("train.lora.lora_dropout=1", "train.lora.lora_dropout=1"),
    ("train.arms={ray: {}}", "arms.'ray' becomes a folder"),
    ("train.arms={base_few_shot: {}}", "nor base_few_shot, base_constrained, ray"),
    ("label.languages=[english]", "label.languages='english' is not told apart; write some of"),
    ("read.sources=[{path: ''}]", "read.sources.0.path: '' names no source; write"),
    ("foo.bar=1", "foo: unknown option; known sections"),
    ("train.num_train_epochs=.nan", "train.num_train_epochs"),
    ("train.num_train_epochs=1e9", "less than or equal to 1000"),
    ("train.weight_decay=.inf", "train.weight_decay=inf"),
    ("train.weight_decay=1e9", "weight_decay=1000000000.0: write a number below 1e+06"),
    ("train.max_loss=.nan", "train.max_loss"),
    ("train.lora.r=1000000000", "r=1000000000: write a number below 1e+09"),
    ("train.save_steps=-1", "train.save_steps=-1"),
    ("train.max_steps=0", "max_steps: 0 is no number of steps; write -1"),
    ("train.max_steps=-5", "write -1 (by epochs)"),
    ("train.global_batch_size=1000000000", "global_batch_size=1000000000: write a number below"),
    ("train.num_workers=2", "write sharding: ddp"),
    ("train.quantization=int8 train.parameters=full", "write parameters: lora"),
    ("train.arms={}", "at least 1 item"),
    ("train.arms={a: sft}", "train.arms.a='sft'"),
    ("train.arms={base: {method: sft}}", "not base, which is the untrained model"),
    ("train.arms={'..': {}}", "arms.'..' becomes a folder"),
    ("train.arms={a: {method: xyz}}", "nut, nat, inverse"),
    ("train.arms={a: {weights: {synthetik: 1}}}", "train.arms.a.weights.synthetik"),
    ("train.arms={a: {method: nat, options: {nat.cut: [0.4]}}}", "of train; did you mean cuts?"),
    ("train.arms={a: {method: nat, options: {natt.cuts: [0.4]}}}", "did you mean nat?"),
    ("train=null", "train=None"),
    ("train=[1]", "train=[1]"),
    ("mix.max_epochs=.inf", "mix.max_epochs=inf"),
    ("mix.weights={positive: .nan}", "mix.weights"),
    ("mix.weights={positive: 0}", "cannot be normalised"),
    ("mix.weights={positiv: 1}", "mix.weights.positiv: no such pool; did you mean positive?"),
    ("mix.weights={synthetic.tflam: 1}", "synthetic has no such pool; did you mean tflan?"),
    ("generate.pools={tflam: 1}", "generate.pools.tflam: no such pool; did you mean tflan?"),
    ("generate.rows=1000000000", "rows=1000000000: write a number below"),
    ("generate.temperature=1e9", "temperature=1000000000.0: write a number below"),
    ("generate.agents=[nope.yaml]", "'nope.yaml' is neither a shipped spec nor a file"),
    ("generate.teacher={base_url: foo, model: m}", "base_url"),
    ("generate.teacher={base_url: 'http://127.0.0.1:9/v1', model: m, key_env: NOPE_KEY}",
     "NOPE_KEY"),
    ("generate.teacher.max_usd=.nan", "generate.teacher.max_usd=nan"),
    ("negatives.per_positive=.inf", "negatives.per_positive=inf"),
    ("negatives.faults=[wrong_valu]", "did you mean wrong_value?"),
    ("label.rules=[nope]", "label.rules='nope' is unknown"),
    ("label.embed=a:b", "write duplicates=minhash"),
    ("label.embed='nomod:f' label.duplicates=minhash", "No module named 'nomod'"),
    ("read.max_error_share=.nan", "read.max_error_share=nan"),
    ("read.split.train=0.95", "sum to 1"),
    ("read.sources=[{path: /nope.jsonl}]", "/nope.jsonl"),
    ("read.sources=[{path: /etc/hosts.d.none}]", "/etc/hosts.d.none"),
    ("read.sources=[{path: bfcl, format: xlm}]", "read.sources.format='xlm' is unknown"),
    ("read.sources=[{path: bfcl, format: 'no.mod:fn'}]", "No module named 'no'"),
    ("read.sources=[{path: bfcl, limit: 0}]", "read.sources.0.limit=0"),
    ("evaluate.confidence=.nan", "evaluate.confidence=nan"),
    ("evaluate.resamples=1000000000", "resamples=1000000000: write a number below"),
    ("evaluate.perturbations=[typo]", "did you mean typos?"),
    ("evaluate.sources={test_seen: {path: bfcl}}", "evaluate.sources.test_seen"),
    ("evaluate.sources={'../x': {path: bfcl}}", "evaluate.sources.../x"),
    ("tune.objective={exact_mach: 1}", "exact_mach"),
    ("tune.space={train.learning_rat: {loguniform: [1e-4, 1e-3]}}", "did you mean"),
    ("tune.space={train.learning_rate: {choice: [1e-3, 0.001]}}", "holds 0.001 twice"),
    ("tune.space={mix.weights: {simplex: [positive, negativ]}}", "did you mean negative?"),
    ("tune.reduction_factor=1", "tune.reduction_factor=1"),
    ("tune.grace_period=5", "write grace_period=3 or less"),
    ("train.arms={a: {}, A: {}}", "are one folder where case does not count"),
    ("train.arms={Base: {}}", "not base, which is the untrained model"),
    ("generate.rows=1:30", "generate.rows='1:30'"),
    ("name=5", "name=5"),
    ("tune.from=/nope tune.num_samples=2", "tune.from='/nope': /nope/tune: no trials"),
    ("label.rules=['sys:maxsize']", "cannot be loaded (it is a int)"),
    ("budget.max_hours=.nan", "budget.max_hours=nan"),
    ("export.scale=.inf", "export.scale=inf"),
    ("engine.kv_cache_gib=.inf", "engine.kv_cache_gib=inf"),
    ("engine.timeout_s=.nan", "engine.timeout_s=nan"),
    ("engine.gpu_memory_utilization=0", "engine.gpu_memory_utilization=0"),
    ("engine.max_model_len=10", "engine.max_model_len=10"),
    ("model.max_length=768 engine.max_model_len=64", "write engine.max_model_len=768 or more"),
    ("engine.tensor_parallel_size=4096", "engine.tensor_parallel_size=4096"),
    ("engine.actors=4096", "engine.actors=4096"),
    ("model.max_length=1", "max_length=1 has no room for a row"),
    ("model.name=/nope/model", "model.name='/nope/model': no such folder"),
    ("resources.cpus=0", "resources.cpus=0"),
    ("resources.cpus=1000000000", "resources.cpus=1000000000"),
    ("resources.object_store_mib=1", "Ray takes 80 at least"),
    ("resources.address='x y'", "resources.address='x y'"),
    ("resources.prices={CPU: .nan}", "resources.prices.CPU=nan"),
    ("resources.prices={CPU: -1}", "resources.prices.CPU=-1"),
    ("resources.stall_timeout_s=.nan", "resources.stall_timeout_s=nan"),
    ("name=../x", "name='../x'"),
    ("name=/etc/x", "name='/etc/x'"),
    ("name='a\\nb'", "name='a"),
    ("name=5", "(run folder under runs_dir)"),
    ("name=''", "name=''"),
    (f"name={'a' * 101}", "name='aaa"),
    ("runs_dir=''", "runs_dir=''"),
    ("runs_dir=/proc/x", "/proc/x/demo cannot be written"),
    ("runs_dir=/sys/x", "/sys/x/demo cannot be written"),
    ("runs_dir=foo://x", "cannot be written"),
    ("runs_dir=~nosuchuser/x", "~nosuchuser"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "named"), CASES, ids=[words[:60] for words, _ in CASES])
def test_a_wrong_option_stops_before_anything_starts(
    source: Path, tmp_path: Path, words: str, named: str
) -> None:
    several = words.split(" ") if words.count("=") == 2 and "{" not in words else [words]
    assert named in refused(source, tmp_path, *several)


def test_a_run_without_rows_is_refused(source: Path, tmp_path: Path) -> None:
    said = refused(source, tmp_path, "read.sources=[]", "generate.rows=0")
    assert "read.sources=[] with generate.rows=0 has no rows; write one of them" in said


def test_a_runs_dir_that_is_a_file_is_refused(source: Path, tmp_path: Path) -> None:
    assert "Not a directory" in refused(source, tmp_path, f"runs_dir={source}")


DOCUMENTS = [
    ("train.learning_rate: 1\n", "unknown option; write sections: {train: {learning_rate: ...}}"),
    ("- 1", "holds a list, not a mapping"),
    ("a:\t\n\t- b", "is not YAML"),
    ("seed: 1\nseed: 2\n", "line 2: 'seed' stands twice"),
    ("train:\n  lora: {r: 4, r: 8}\n", "'r' stands twice"),
    ("a: !!python/object/apply:os.system ['false']", "python/object"),
    ("1: 2", "1=1: Keys should be strings"),
    ("&a\nread: *a\n", "nested more than 40 levels"),
    ("[" * 3000, "nested more than 40 levels"),
    ("{a: " * 2000, "nested more than 40 levels"),
    ("seed: 1\x00", "is not YAML"),
    ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{k}: &{k} [{','.join([f'*{j}'] * 9)}]\n" for j, k in zip("abcdefgh", "bcdefghi")),
     "more than 1,000,000 values"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "named"), DOCUMENTS, ids=[t[:20] for t, _ in DOCUMENTS])
def test_a_strange_file_is_refused_with_its_place(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert named in str(error.value)


def test_overrides_are_as_strict_as_files() -> None:
    for word in (f"{'a.' * 500}b=1", f"seed={'[' * 3000}", "mix={tokens: 1, tokens: 2}"):
        with pytest.raises(ConfigError, match="override"):
            load_config(None, [word])
    assert load_config(None, ["train.lora={r: 4}"]).train.lora.r == 4


def test_words_and_numbers_are_those_of_yaml_1_2() -> None:
    words = ("name=no", "label.languages=[no]", "label.duplicates=off", "generate.cache=off")
    config = load_config(None, [*words, "seed=017", "generate.rows=1e3", "train.padding_free=no"])
    assert (config.name, config.label.languages) == ("no", ["no"])
    assert (config.label.duplicates, config.generate.cache) == ("off", "off")
    assert (config.seed, config.generate.rows, config.train.padding_free) == (17, 1000, False)
    assert load_config(None, ["name=2026-01-01"]).name == "2026-01-01"


def test_a_config_that_is_a_device_or_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path):
        with pytest.raises(ConfigError, match="it is no file"):
            load_config(path)


def test_a_thousand_wrong_options_are_told_in_a_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(3000)))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert len(str(error.value).splitlines()) == 20


def test_merge_keys_and_aliases_still_work(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("train: {arms: {a: &a {method: sft}, b: {<<: *a, method: nat}}}\n")
    assert {n: a.method for n, a in load_config(path).train.arms.items()} == {
        "a": "sft",
        "b": "nat",
    }


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.yaml", "name: a\ndescription: b\ntools: []\n", "is an agent's spec, not the config of"),
        ("good.jsonl", "{}\n{}\n", "holds rows; write raytune-agents init --positives "),
        ("good.parquet", "PAR1", "holds rows; write raytune-agents init --positives "),
        ("tools.py", "def f(): ...", "holds tools; write raytune-agents init --tools "),
        ("api.yaml", "openapi: 3.1.0\npaths: {}\n", "holds tools; write raytune-agents init --"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, name, text, says) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / name)
    assert f"{name}' {says}" in str(error.value)
    if name == "a.yaml":
        assert "write a config with generate: {agents: [" in str(error.value)
        (tmp_path / "a_run.yaml").write_text("")
        with pytest.raises(ConfigError, match=r"write \S+/a_run\.yaml$"):
            load_config(tmp_path / name)
