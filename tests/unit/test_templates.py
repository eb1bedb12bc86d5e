"""Models with native tool calls: training text is the engine's prompt, the answer is in the model's
own form, and the template goes with the adapter. The templates are those that TRL ships."""

from __future__ import annotations

from pathlib import Path

import pytest
import trl
from transformers import AutoTokenizer

from raytune_agents import agents, models
from raytune_agents.calls import parse
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import TrainConfig
from raytune_agents.generate.react import react
from raytune_agents.generate.tasks import tasks
from raytune_agents.train import check, nat

SHIPPED = Path(trl.__file__).parent / "chat_templates"
LLAMA = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
SPEC = agents.load("qa")
ROW, RUN = tasks(SPEC, 1, 1)[0], react(SPEC, 1, 3)[0]


@pytest.fixture(scope="module", params=["qwen2_5", "qwen3", "llama3_1", "llama3_2"])
def native(request, tmp_path_factory) -> tuple[str, Chat]:
    """The embedded tokenizer with another model's template and special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(models.embedded())
    tokenizer.chat_template = (SHIPPED / f"{request.param}.jinja").read_text()
    if request.param.startswith("llama"):
        tokenizer.add_special_tokens(
            {"bos_token": LLAMA[0], "eos_token": LLAMA[-1], "additional_special_tokens": LLAMA}
        )
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer.save_pretrained(folder)
    return request.param, Chat(folder)


def test_the_models_own_template_is_used_and_shows_the_tools(native) -> None:
    _, chat = native
    prompt = chat.prompt_text(ROW)
    assert not chat.ours
    assert all(tool.name in prompt and tool.description in prompt for tool in ROW.tools)
    embedded = Chat(models.embedded())
    assert embedded.tokenizer.chat_template != chat.tokenizer.chat_template
    assert embedded.ours  # no tools in its own


def test_a_call_is_trained_in_the_models_own_form(native) -> None:
    name, chat = native
    (example,) = chat.encode(ROW)
    prompt = chat.prompt_ids(ROW)
    assert example.input_ids[: len(prompt)] == prompt
    assert set(example.labels[: len(prompt)]) == {IGNORE}
    answer = chat.tokenizer.decode(example.input_ids[len(prompt) :])
    assert answer.endswith(chat.tokenizer.eos_token)
    assert ("<tool_call>" in answer) is name.startswith("qwen")
    assert ('"parameters": ' in answer) is name.startswith("llama")
    parsed = parse(answer.removesuffix(chat.tokenizer.eos_token))
    assert [(c.name, c.args) for c in parsed.calls] == [(c.name, c.args) for c in ROW.calls]


def test_answers_of_a_run_are_trained_and_its_observations_are_not(native) -> None:
    name, chat = native
    examples = chat.encode(RUN)
    assert len(examples) == (len(RUN.calls) + 1 if name == "qwen3" else 1)  # it rewrites turns
    trained = "".join(
        chat.tokenizer.decode([x for x in example.labels if x != IGNORE]) for example in examples
    )
    assert all(call.name in trained for call in RUN.calls)
    assert RUN.target.content in trained
    for message in RUN.messages:
        if message.role == "tool":
            assert message.content not in trained
            assert message.content.replace('"', '\\"') not in trained


def test_a_marker_stands_in_the_question_of_any_template(native) -> None:
    _, chat = native
    section = TrainConfig(nat={"template": "a_b"})
    (column,), (plain,) = nat.columns(ROW, chat, section, None), chat.encode(ROW)
    text, before = (chat.tokenizer.decode(x) for x in (column["input_ids"], plain.input_ids))
    assert text.replace("\n[A]", "", 1) == before
    assert f"{ROW.query}\n[A]" in text
    check.parity("nat", {ROW.id: ROW}, [column], chat, section, None)


def test_the_template_goes_with_the_adapter(native, tmp_path) -> None:
    _, chat = native
    chat.save(tmp_path)
    assert Chat(tmp_path).prompt_ids(RUN) == chat.prompt_ids(RUN)
    assert (tmp_path / "chat_template.jinja").is_file()
