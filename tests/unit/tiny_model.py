"""Random models of two layers, with the shipped tokenizer, and a few token rows for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from raytune_agents.chat import IGNORE
from raytune_agents.train.column_files import write_columns

SIZES = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 49152,
}  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {
        "row_id": str(k), "pool": "positive", "weights": None, "trained_tokens": 4,
        "input_ids": [5 + (k * j) % 90 for j in range(8 + k)],
        "labels": [IGNORE] * (4 + k) + [5 + (k * j) % 90 for j in range(4 + k, 8 + k)],
    }
    for k in range(16)
]  # fmt: skip


def save_tiny(folder: Path, **sizes: Any) -> str:
    """A tiny Llama, of other sizes where named, and the shipped tokenizer in `folder`."""
    from raytune_agents.models import embedded

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES | sizes)).save_pretrained(folder)
    for file in embedded().iterdir():
        if file.name.startswith("tokenizer"):
            (folder / file.name).write_bytes(file.read_bytes())
    return str(folder)


def with_columns(job, rows):
    """The job on these rows of columns, in a file of its folder."""
    folder = Path(job.out) / "columns"
    write_columns(folder / "rows-00000.arrow", rows)
    return replace(job, columns=str(folder))
