"""The tokenizer of a model's folder, without PyTorch where its files name a class that needs none.

Left out: its template (`chat`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from raytune_agents.storage import read_json

# Types of model whose files AutoTokenizer believes; for qwen2 and others it takes another class.
BELIEVED = ("llama",)
PLAIN = "TokenizersBackend"  # what transformers 5 writes for a tokenizer.json that is all there is


def load_tokenizer(path: str) -> Any:
    """Of a folder or a name on the Hub. AutoTokenizer comes to the same class but loads PyTorch and
    every way to generate in order to choose it: several seconds of each command that looks."""
    if is_all_json(Path(path)):
        from transformers import TokenizersBackend

        return TokenizersBackend.from_pretrained(path)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, trust_remote_code=False)


def is_all_json(folder: Path) -> bool:
    """Whether the files of a model say that its tokenizer is a tokenizer.json and no more."""
    names = ("tokenizer.json", "tokenizer_config.json", "config.json")
    if not all((folder / name).is_file() for name in names):
        return False
    try:
        own, model = (read_json(folder / name) for name in names[1:])
    except (OSError, ValueError):  # AutoTokenizer says what is wrong with them
        return False
    if not isinstance(own, dict) or not isinstance(model, dict):
        return False
    named = own.get("tokenizer_class") == PLAIN and "auto_map" not in own
    return named and model.get("model_type") in BELIEVED
