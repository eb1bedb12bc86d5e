"""A folder of safetensors -> one GGUF file in q8_0, for llama.cpp and what is built on it.

Left out: tokenizers that are not byte-level BPE, positions that are scaled otherwise than Llama
3's, mixtures of experts. A model that has one of these is refused by name before anything is
written, rather than written so that it answers a little wrong. Names of tensors and fields:
gguf-py's own tables; q and k of Llama are stored with their halves interleaved (llama.cpp,
convert_hf_to_gguf.py, LlamaModel.permute).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_agents.config import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_START = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_END = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# how text is cut before BPE, in llama.cpp's names (llama-vocab.cpp)
SPLITS = {_START + r"\p{N}" + _END: "qwen2", _START + r"\p{N}{1,3}" + _END: "llama-bpe"}
BLOCK = 32  # values that q8_0 scales together
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType
Tree = dict[str, Any]


def check_gguf(folder: Path) -> None:
    """Raises ConfigError where no GGUF file can hold the model, naming why."""
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ConfigError("--gguf needs package gguf: pip install gguf") from None
    config, tokenizer = _json(folder / "config.json"), _json(folder / "tokenizer.json")
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise ConfigError(f"--gguf: a {kind} model; only {', '.join(ARCHITECTURES)} can be written")
    scaled = scaling(config)[0]
    if scaled not in ("default", "llama3"):
        raise ConfigError(f"--gguf: positions scaled by {scaled!r} cannot be written; use vLLM")
    pre_tokenizer(tokenizer)
    ids = [*tokenizer["model"].get("vocab", {}).values()]
    ids += [added["id"] for added in tokenizer.get("added_tokens") or []]
    if max(ids, default=0) >= config["vocab_size"]:
        raise ConfigError(
            f"--gguf: the tokenizer has a token {max(ids)}, the model {config['vocab_size']} rows "
            "for tokens (vocab_size), counted from 0; use vLLM"
        )


def scaling(config: Tree) -> tuple[str, Tree]:
    """How positions are scaled, and by which numbers, in the fields of transformers 4 or 5."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope.get("rope_type") or rope.get("type") or "default", rope


def pre_tokenizer(tokenizer: Tree) -> str:
    """llama.cpp's name of how a tokenizer.json cuts text. Raises ConfigError for any other way."""
    steps = tokenizer.get("pre_tokenizer") or {}
    steps = steps.get("pretokenizers") or [steps]
    kinds = [s.get("type") for s in steps]
    bpe = (tokenizer.get("model") or {}).get("type") == "BPE" and kinds[-1] == "ByteLevel"
    if bpe and kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if bpe and kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
        return "smollm"
    pattern = (steps[0].get("pattern") or {}).get("Regex") if kinds[0] == "Split" else None
    if bpe and pattern in SPLITS:
        return SPLITS[pattern]
    raise ConfigError(f"--gguf: a tokenizer of {kinds} is none that llama.cpp names; use vLLM")


def write_gguf(folder: Path, out: Path) -> None:
    """Write `out` whole or not at all. Raises ConfigError, see `check_gguf`."""
    import gguf

    check_gguf(folder)
    config = _json(folder / "config.json")
    part = out.with_name(out.name + ".part")
    # weights go through a file: all of a large model would not fit beside itself
    writer = gguf.GGUFWriter(part, ARCHITECTURES[config["model_type"]], use_temp_file=True)
    _add_shape(writer, config, out.stem)
    _add_tokenizer(writer, folder, config)
    for name, data in chain(_rope_factors(config), _tensors(folder, config)):
        kind = gguf.GGMLQuantizationType.F32
        if data.ndim > 1 and data.shape[-1] % BLOCK == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(part, out)
    finally:
        writer.close()
        part.unlink(missing_ok=True)


def _json(path: Path) -> Tree:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _add_shape(writer: GGUFWriter, config: Tree, name: str) -> None:
    import gguf

    heads = config["num_attention_heads"]
    size = _head_size(config)
    _, rope = scaling(config)
    writer.add_name(name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: GGUFWriter, folder: Path, config: Tree) -> None:
    tree = _json(folder / "tokenizer.json")
    size = config["vocab_size"]  # rows of the embedding: often more than there are tokens
    tokens, kinds = [f"[PAD{i}]" for i in range(size)], [UNUSED] * size
    for token, at in tree["model"]["vocab"].items():
        tokens[at], kinds[at] = token, NORMAL
    for added in tree.get("added_tokens") or []:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added.get("special") else USER_DEFINED
    merges = tree["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer(tree))
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_add_bos_token(False)  # templates write what they begin with
    ends = _json(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends]
    adders = {
        writer.add_eos_token_id: ends[0],
        writer.add_eot_token_id: ends[-1],
        writer.add_bos_token_id: config.get("bos_token_id"),
        writer.add_pad_token_id: config.get("pad_token_id"),
    }
    for add, token_id in adders.items():
        if isinstance(token_id, int):
            add(token_id)
    if template := chat_template(folder):
        writer.add_chat_template(template)


def chat_template(folder: Path) -> str:
    """The template that the folder's tokenizer has, without the marks of trained tokens, which
    llama.cpp does not read; "" where there is none."""
    file = folder / "chat_template.jinja"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    text = text or _json(folder / "tokenizer_config.json").get("chat_template") or ""
    text = re.sub(r"(\{%-?\s*)generation(\s*-?%\})", r"\1if true\2", text)
    return re.sub(r"(\{%-?\s*)endgeneration(\s*-?%\})", r"\1endif\2", text)


def _head_size(config: Tree) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def _rope_factors(config: Tree) -> Iterator[tuple[str, np.ndarray]]:
    """What llama.cpp divides the angles of each pair by, [head size / 2]: those of Llama 3.1, where
    slow ones are scaled and fast ones are not (transformers, _compute_llama3_parameters)."""
    import numpy as np

    scaled, rope = scaling(config)
    if scaled != "llama3":
        return
    size = _head_size(config)
    theta = rope.get("rope_theta") or config["rope_theta"]
    turns = np.arange(0, size, 2, dtype=np.float64) / size
    waves = 2 * np.pi * theta**turns  # tokens of a whole turn
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    share = (rope["original_max_position_embeddings"] / waves - low) / (high - low)
    share = share.clip(0, 1)  # 1: as it is, 0: scaled
    factors = 1 / ((1 - share) / rope["factor"] + share)
    yield "rope_freqs.weight", factors.astype(np.float32)


def _tensors(folder: Path, config: Tree) -> Iterator[tuple[str, np.ndarray]]:
    """(GGUF's name, float32 values) of each weight, one in memory at a time."""
    import gguf
    from safetensors import safe_open

    kind = ARCHITECTURES[config["model_type"]]
    arch = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == kind)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    tied = config.get("tie_word_embeddings", False)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                # readers tie the two where the second is not there
                if tied and key == "lm_head.weight":
                    continue
                name = names.get_name(key, try_suffixes=(".weight", ".bias"))
                if name is None:
                    raise ConfigError(f"--gguf: {key} has no name in GGUF's {kind}; use vLLM")
                data = file.get_tensor(key).float().numpy()
                if kind == "llama" and ".attn_q." in name:
                    data = _interleaved(data, config["num_attention_heads"])
                elif kind == "llama" and ".attn_k." in name:
                    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
                    data = _interleaved(data, heads)
                yield name, data


def _interleaved(data: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head [first half, second half] -> in turns."""
    halves = data.reshape(heads, 2, data.shape[0] // heads // 2, *data.shape[1:])
    return halves.swapaxes(1, 2).reshape(data.shape)
