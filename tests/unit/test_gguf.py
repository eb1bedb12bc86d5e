"""GGUF files: what transformers reads back is the model that was written, to 8 bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama import LlamaConfig, LlamaForCausalLM
from transformers.models.qwen2 import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

from raytune_agents import models
from raytune_agents.config import ConfigError
from raytune_agents.gguf_file import SPLITS, chat_template, check_gguf, pre_tokenizer, write_gguf

gguf = pytest.importorskip("gguf", reason="package gguf is not installed")

SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128,
    "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 257,
}
KINDS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "llama_tied": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
    # 128 as in all of Qwen3: transformers reads no other size of a head from GGUF
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=128)),
}


def byte_level() -> dict[str, Any]:
    """A tokenizer.json of bytes and two special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    vocab = {c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}
    special = [{"id": 256 + i, "content": word, "special": True, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False}
               for i, word in enumerate(("<|im_start|>", "<|im_end|>"))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    return {"version": "1.0", "added_tokens": special, "pre_tokenizer": level, "decoder": level,
            "model": {"type": "BPE", "vocab": vocab, "merges": []}}


def folder_of(kind: str, path: Path) -> Path:
    torch.manual_seed(7)
    model = KINDS[kind]()
    model.save_pretrained(path)
    (path / "tokenizer.json").write_text(json.dumps(byte_level()))
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (path / "chat_template.jinja").write_text("{%- generation -%}x{%- endgeneration -%}")
    return path


def largest_gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """Of logits, as a share of their spread."""
    return float((one - other).abs().max() / one.std())


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_the_same_model_back(kind: str, tmp_path: Path) -> None:
    folder = folder_of(kind, tmp_path / "model")
    file = tmp_path / "model-q8_0.gguf"
    write_gguf(folder, file)
    before = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    after = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32
    ).eval()
    ids = torch.arange(40).reshape(2, 20) * 7 % 256
    with torch.no_grad():
        gap = largest_gap(before(ids).logits, after(ids).logits)
    assert 0 < gap < 0.1  # 8 bits of 127 steps: each weight within 0.4 % of its block's largest
    for name, weight in before.state_dict().items():
        bound = weight.abs().max() / 127
        assert (after.state_dict()[name] - weight).abs().max() <= bound, name
    fields = gguf.GGUFReader(file).fields
    assert fields["tokenizer.ggml.pre"].contents() == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"].contents() == 257
    assert fields["tokenizer.chat_template"].contents() == "{%- if true -%}x{%- endif -%}"
    assert not list(tmp_path.glob("*.part"))


def test_the_scaled_positions_of_llama_3_are_written(tmp_path: Path) -> None:
    folder, file = folder_of("llama", tmp_path / "model"), tmp_path / "x.gguf"
    config = json.loads((folder / "config.json").read_text())
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
              "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    new = config | {"rope_parameters": scaled | {"rope_theta": 5e5}}
    old = {k: v for k, v in config.items() if k != "rope_parameters"}
    old |= {"rope_scaling": scaled, "rope_theta": 5e5}
    angles = {}
    for name, tree in (("plain", config | {"rope_parameters": {"rope_theta": 5e5}}), ("new", new)):
        (folder / "config.json").write_text(json.dumps(tree))
        angles[name] = AutoModelForCausalLM.from_pretrained(folder).model.rotary_emb.inv_freq
    for tree in (new, old):
        (folder / "config.json").write_text(json.dumps(tree))
        write_gguf(folder, file)
        reader = gguf.GGUFReader(file)
        factors = next(t for t in reader.tensors if t.name == "rope_freqs.weight").data
        assert factors == pytest.approx((angles["plain"] / angles["new"]).numpy(), rel=1e-5)
        # turns of 2 pi, 32, 165 ... tokens: shorter than 64 / 4, between, longer than 64
        assert factors[[0, -1]] == pytest.approx([1, 8])
        assert 1 < factors[1] < 8
        assert reader.fields["llama.rope.freq_base"].contents() == 5e5


def test_models_that_would_be_written_wrong_are_refused(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    wrong = [
        ({"model_type": "gpt2"}, "a gpt2 model"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "scaled by 'yarn'"),
    ]
    for changes, said in wrong:
        (folder / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(ConfigError, match=said):
            check_gguf(folder)
    (folder / "config.json").write_text(json.dumps(config))
    tree = byte_level() | {"pre_tokenizer": {"type": "Metaspace"}}
    (folder / "tokenizer.json").write_text(json.dumps(tree))
    with pytest.raises(ConfigError, match="Metaspace"):
        write_gguf(folder, tmp_path / "x.gguf")
    assert not list(tmp_path.glob("x.gguf*"))


def test_a_weight_without_a_name_leaves_nothing_behind(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = folder_of("llama", tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"zz.weight": torch.zeros(2)}, folder / "model.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ConfigError, match=r"zz\.weight has no name"):
        write_gguf(folder, out / "x.gguf")
    assert not list(out.iterdir())


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    folder, out = folder_of("llama", tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(gguf.GGUFWriter, "write_tensors_to_file", full)
    with pytest.raises(OSError, match="No space"):
        write_gguf(folder, out / "x.gguf")
    assert not list(out.iterdir())


def test_a_token_that_the_model_has_no_row_for_is_refused(tmp_path: Path) -> None:
    folder = folder_of("llama", tmp_path / "model")
    for change in ("added", "vocab"):
        tree = byte_level()
        if change == "added":
            tree["added_tokens"][1]["id"] = 300
        else:
            tree["model"]["vocab"]["ab"] = 300
        (folder / "tokenizer.json").write_text(json.dumps(tree))
        for refused in (check_gguf, lambda path: write_gguf(path, tmp_path / "x.gguf")):
            with pytest.raises(ConfigError, match="a token 300, the model 300 rows"):
                refused(folder)
    assert not list(tmp_path.glob("x.gguf*"))


def test_how_text_is_cut_has_llama_cpps_name() -> None:
    level = {"type": "ByteLevel", "use_regex": False}
    bpe = {"model": {"type": "BPE"}}
    for pattern, name in SPLITS.items():
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
        tree = bpe | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]}}
        assert pre_tokenizer(tree) == name
    digits = [{"type": "Digits", "individual_digits": True}, level | {"use_regex": True}]
    tree = bpe | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": digits}}
    assert pre_tokenizer(tree) == "smollm"


def test_our_template_renders_the_same_without_its_marks(tmp_path: Path) -> None:
    from jinja2 import Environment

    from raytune_agents.chat import TEMPLATE

    (tmp_path / "chat_template.jinja").write_text(TEMPLATE.read_text())
    text = chat_template(tmp_path)
    assert "generation" not in text.replace("add_generation_prompt", "")
    turns = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    said = Environment().from_string(text).render(messages=turns, add_generation_prompt=True)
    assert said == ("<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"
                    "<|im_start|>assistant\n")


def test_our_template_needs_no_more_than_llama_cpps_jinja_has(tmp_path: Path) -> None:
    """Of common/jinja/value.cpp; transformers.js has these, too. Both lack `dict()` and `truncate`,
    and `select` of texts."""
    from jinja2 import Environment, nodes

    from raytune_agents.chat import OURS, TEMPLATE
    from raytune_agents.template_defaults import stored_template

    text = stored_template(TEMPLATE.read_text(), {"enable_thinking": False}, "(good)", OURS)
    (tmp_path / "chat_template.jinja").write_text(text)
    tree = Environment().parse(chat_template(tmp_path))
    macros = {m.name for m in tree.find_all(nodes.Macro)}
    assert {f.name for f in tree.find_all(nodes.Filter)} <= {"items", "join", "length", "tojson"}
    assert {t.name for t in tree.find_all(nodes.Test)} <= {"defined", "none", "string"}
    called = [call.node for call in tree.find_all(nodes.Call)]
    plain = {n.name for n in called if isinstance(n, nodes.Name)} - macros
    assert plain == {"namespace"}
    assert {n.attr for n in called if isinstance(n, nodes.Getattr)} == {"replace", "split"}


@pytest.mark.slow
def test_the_embedded_model_answers_ten_requests_the_same(tmp_path: Path) -> None:
    folder = models.embedded()
    file = tmp_path / "smollm2-q8_0.gguf"
    write_gguf(folder, file)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    one = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    other = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32
    ).eval()
    back = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    tools = [{"type": "function", "function": {"name": "get_weather", "description": "Weather.",
              "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                             "required": ["city"]}}}]
    same = 0
    cities = ["Paris", "Rome", "Oslo", "Lima", "Cairo", "Delhi", "Tokyo", "Quito", "Accra", "Berne"]
    for city in cities:
        call = f'<tool_call>{{"name": "get_weather", "arguments": {{"city": "{city}"}}}}'
        turns = [{"role": "user", "content": "How is the weather in Kyiv?"},
                 {"role": "assistant", "content": call.replace(city, "Kyiv") + "</tool_call>"},
                 {"role": "user", "content": f"How is the weather in {city}?"}]
        ids = tokenizer.apply_chat_template(
            turns, tools=tools, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        answers = [m.generate(ids, max_new_tokens=16, do_sample=False)[0, ids.shape[1]:].tolist()
                   for m in (one, other)]
        same += answers[0] == answers[1]
        assert back.encode(turns[-1]["content"]) == tokenizer.encode(turns[-1]["content"])
    assert same >= 9, same  # a tie of two tokens may fall the other way at 8 bits
