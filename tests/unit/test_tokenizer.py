"""A tokenizer that is loaded without PyTorch is the one that AutoTokenizer loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from raytune_agents import models
from raytune_agents.tokenizer import BELIEVED, is_all_json, load_tokenizer

TEXT = "<|im_start|>user\nPay 12 €, naïve  client<|im_end|>\n"
LOOK = """
import sys
from raytune_agents.chat import Chat

assert Chat(sys.argv[1]).ids("Pay 12 EUR")
assert "torch" not in sys.modules
"""


@pytest.fixture
def folder(tmp_path):
    """The embedded model's folder without its weights."""
    for file in models.embedded().iterdir():
        if file.suffix in (".json", ".jinja", ".txt"):
            shutil.copy(file, tmp_path)
    return tmp_path


def test_it_is_what_auto_tokenizer_loads(folder) -> None:
    from transformers import AutoTokenizer

    assert is_all_json(folder)
    mine, other = load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)
    assert type(mine) is type(other)
    assert {k: repr(v) for k, v in mine.init_kwargs.items()} == {
        k: repr(v) for k, v in other.init_kwargs.items()
    }
    assert mine.get_vocab() == other.get_vocab()
    assert mine(TEXT)["input_ids"] == other(TEXT)["input_ids"]


def test_pytorch_is_not_loaded_to_count_tokens() -> None:
    subprocess.run([sys.executable, "-c", LOOK, str(models.embedded())], check=True)


def test_a_type_whose_class_is_not_believed_is_left_to_auto_tokenizer(folder) -> None:
    from transformers.models.auto import tokenization_auto

    assert not set(BELIEVED) & set(tokenization_auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "qwen2"}))
    assert not is_all_json(folder)
    assert type(load_tokenizer(str(folder))).__name__ == "Qwen2Tokenizer"


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json", "tokenizer.json"])
def test_files_that_are_missing_or_broken_are_left_to_auto_tokenizer(folder, name: str) -> None:
    if name != "tokenizer.json":
        for text in ("[]", "{"):
            (folder / name).write_text(text)
            assert not is_all_json(folder)
    (folder / name).unlink()
    assert not is_all_json(folder)
