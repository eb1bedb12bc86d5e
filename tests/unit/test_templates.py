"""Models with native tool calls: what is trained is what is served, and comes back as it was.

The templates are those that TRL ships, and hand-written ones of families that it does not."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
import trl
from template_strings import UNKNOWN, WRITTEN
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerFast

from raytune_agents import agents, models, sandbox
from raytune_agents.calls import families, judge, parse
from raytune_agents.chat import IGNORE, Chat
from raytune_agents.config import ConfigError, TrainConfig
from raytune_agents.generate.tasks import tasks
from raytune_agents.generate.world_runs import react
from raytune_agents.records import Message, RecordError, ToolCall, ToolSpec, Trajectory
from raytune_agents.train import nat, validate_data
from raytune_agents.train.methods import Recipe
from raytune_agents.train.rollout_func import observed

SHIPPED = Path(trl.__file__).parent / "chat_templates"
# what TRL ships for inference that carries tools and calls, and vLLM's parser of its calls
FAMILIES = {
    "diffusion_gemma": "gemma4", "gemma4": "gemma4", "gemma4_v2": "gemma4", "gemma4_v3": "gemma4",
    "gemma4_v4": "gemma4", "gemma4_v5": "gemma4", "glm4moe": "glm45", "gptoss": "openai",
    "lfm2_2_5": "lfm2", "lfm2_2_5_v2": "lfm2", "lfm2_2_5_vl": "lfm2", "lfm2_v2": "lfm2",
    "llama3_1": "llama3_json", "llama3_2": "llama3_json", "muse_glimmer": "muse_glimmer",
    "nemotron_3_5_lightning": "qwen3_coder", "nemotron_3_nano": "qwen3_coder",
    "nemotron_3_super": "qwen3_coder", "nemotron_3_ultra": "qwen3_coder", "qwen2_5": "hermes",
    "qwen3": "hermes", "qwen3_5_nothink": "qwen3_coder", "qwen3_5_think": "qwen3_coder",
    "qwen3_6": "qwen3_coder", "qwen3_8": "qwen3_coder", "qwen3_instruct_2507": "hermes",
    "qwen3_vl": "hermes", "mistral_v3": "mistral", "mistral_v11": "mistral", "granite": "granite",
    "granite4": "hermes", "phi4_mini": "granite", "deepseek_v3": "deepseek_v3",
    "deepseek_v31": "deepseek_v31", "kimi_k2": "kimi_k2", "pythonic": "pythonic",
    "hunyuan_a13b": "hunyuan_a13b", "olmo3": "olmo3", "xlam": "xlam", "seed_oss": "seed_oss",
    "command_r7b": "cohere_command3", "minimax_m2": "minimax_m2", "glm47": "glm45", "nemotron2": "",
    "hermes_shut": "hermes", "apertus": "apertus", "minicpm5": "minicpm5",
    "gigachat3": "gigachat3", "functionary": "", "llama4": "llama4_json", "apriel": "hunyuan_a13b",
    "apriel_think": "hunyuan_a13b", "calls_first": "hermes", "minicpm4": "",
}  # fmt: skip
ONE_CALL = ("llama3_1", "llama3_2", "gptoss", "gigachat3")  # a turn holds one call
DROPS_WORDS = ("llama3_1", "llama3_2", "muse_glimmer", "mistral_v3", "xlam", "command_r7b")
ENDS = {  # the tokenizer's own
    "command_r7b": "<|END_OF_TURN_TOKEN|>", "minimax_m2": "[e~[", "nemotron2": "<SPECIAL_12>",
    "seed_oss": "<seed:eos>", "apriel": "<|end|>", "apriel_think": "<|end|>", "llama4": "<|eot|>",
}  # fmt: skip
MARKS = re.compile(r"<[|｜/]?[A-Za-z_▁ ]+[|｜]?>|<\|\"\|>|\[/?[A-Z_]+\]")
WEATHER = ToolSpec("get_weather", "Weather of a city.", json.dumps({"type": "object",
    "required": ["city"], "properties": {"city": {"type": "string", "description": "the city"},
        "days": {"type": "integer"}, "live": {"type": "boolean"}, "wind": {"type": "number"},
        "tags": {"type": "array", "items": {"type": "string"}}, "opts": {"type": "object"},
        "unit": {"type": ["string", "null"]}}}))  # fmt: skip
PING = ToolSpec("ping", "Is it there?")
PARIS = ToolCall.of("get_weather", city="Paris")
NESTED = ToolCall.of(
    "get_weather", city='São "P", it\'s {x} [y]\nnew </b>', days=-3, live=True, wind=2.5,
    tags=["1", "a, b", "}"], opts={"q": "it's {a: 1}", "n": {"l": [1, 2.5, "x", {}]}}, unit=None,
)  # fmt: skip
SPEC = agents.load_spec("qa")
ROW, RUN = tasks(SPEC, 1, 1)[0], react(SPEC, 1, 3)[0]


def source(name: str) -> str:
    return WRITTEN[name] if name in WRITTEN else (SHIPPED / f"{name}.jinja").read_text()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token per byte: a real byte-level tokenizer that loads in no time."""
    backend = Tokenizer(BPE({c: i for i, c in enumerate(sorted(ByteLevel.alphabet()))}, []))
    backend.pre_tokenizer, backend.decoder = ByteLevel(add_prefix_space=False), ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        extra_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
    )


def saved(text: str, folder: Path, eos: str = "") -> Path:
    """A folder with a tokenizer that has the template, and its marks as special tokens."""
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = text
    plain = ("<think>", "</think>", "<tools>", "<tool_calls>", "</tool_calls>")
    found = {m for m in MARKS.findall(text) if m not in plain}
    found |= {"<eos>"} if not eos else set()
    if "<|eot_id|>" in text or "<|python_start|>" in text:
        found |= {"<|python_tag|>"}  # a token of every Llama
    tokenizer.add_tokens(  # DeepSeek's marks are plain tokens, the others' are special
        [AddedToken(m, special="▁" not in m, normalized=False) for m in sorted(found)]
    )
    tokenizer.eos_token = eos or tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=FAMILIES)
def native(request, tmp_path_factory) -> tuple[str, Chat]:
    """A family's name and a chat with its template."""
    folder = tmp_path_factory.mktemp(request.param)
    name = request.param
    return name, Chat(saved(source(name), folder, ENDS.get(name, "")))


def row(*turns: Message, gold: str = "") -> Trajectory:
    return Trajectory((Message("user", "Weather?"), *turns), (WEATHER, PING), gold=gold)


def answer_of(chat: Chat, asked: Trajectory) -> str:
    """The answer that is trained, as the engine would give it: without the token that ends it."""
    example, prompt = chat.encode(asked)[-1], chat.prompt_ids(asked)
    start = max(i for i, x in enumerate(example.labels) if x == IGNORE) + 1
    assert chat.tokenizer.decode(example.input_ids[:start]) == chat.tokenizer.decode(prompt)
    trained = example.labels[start:]
    assert trained == example.input_ids[start:]
    assert trained[-1] in chat.end_ids
    assert not set(trained[:-1]) & set(chat.end_ids)
    return chat.answer_text(trained, prompt)


def calls_of(text: str) -> list[tuple[str, dict]]:
    return [(c.name, c.args) for c in parse(text, (WEATHER, PING)).calls]


# --- what a template shows ---


def test_the_models_own_template_is_used_and_shows_the_tools(native) -> None:
    name, chat = native
    prompt = chat.prompt_text(ROW)
    assert not chat.ours
    assert all(tool.name in prompt and tool.description in prompt for tool in ROW.tools)
    assert chat.habits.parser == FAMILIES[name]
    assert chat.habits.parallel is (name not in ONE_CALL)
    assert chat.habits.shows_results


def test_threads_share_what_was_loaded(tmp_path) -> None:
    """Shards are threads of one process: each loaded a tokenizer of its own."""
    path, start = saved(source("qwen3"), tmp_path), Barrier(8)

    def load(_: int) -> int:
        start.wait(20)
        return id(Chat(path).tokenizer)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(8)))) == 1


def test_all_that_trl_ships_with_tools_and_calls_is_covered() -> None:
    stems = {p.stem for p in SHIPPED.glob("*.jinja") if "_training" not in p.stem}
    carry = {n for n in stems if "tool_calls" in source(n) and "tools" in source(n)}
    assert carry == set(FAMILIES) - set(WRITTEN)
    assert len(carry) == 27


@pytest.mark.parametrize("name", ["lfm2", "deepseekv3", "deepseek_r1_distill", "phi3", "gemma3"])
def test_a_template_that_drops_tools_or_calls_is_refused_and_ours_taken(name, tmp_path) -> None:
    path = saved(source(name), tmp_path)
    with pytest.raises(ConfigError, match=r"drops (tools|calls|tools and calls)\b.*template=ours"):
        _ = Chat(path, "native").ours
    assert Chat(path).ours
    assert judge(answer_of(Chat(path), row(Message("assistant", tool_calls=(NESTED,)))), row(
        Message("assistant", tool_calls=(NESTED,)))).ok  # fmt: skip


def test_a_dialect_that_nothing_reads_is_refused_and_not_scored_0(tmp_path) -> None:
    path = saved(UNKNOWN, tmp_path)
    for template in ("auto", "native"):
        with pytest.raises(ConfigError, match=r"writes a call as '@probe_tool.*template=ours"):
            _ = Chat(path, template).ours
    assert judge(answer_of(Chat(path, "ours"), ROW), ROW).ok


def test_of_several_templates_the_one_for_tools_is_used(tmp_path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved("{{ messages }}", tmp_path))
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": source("qwen2_5")}
    tokenizer.save_pretrained(tmp_path)
    assert not Chat(tmp_path).ours
    Chat(tmp_path).save(tmp_path / "adapter")
    assert Chat(tmp_path / "adapter").prompt_ids(ROW) == Chat(tmp_path).prompt_ids(ROW)


def test_a_template_that_is_no_text_is_none(tmp_path) -> None:
    path = saved("{{ messages }}", tmp_path)
    (tmp_path / "chat_template.jinja").unlink(missing_ok=True)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": 5}))
    assert Chat(path).ours


def test_an_answer_that_holds_its_own_end_is_a_bad_row(native) -> None:
    _, chat = native
    end = chat.tokenizer.eos_token
    with pytest.raises(RecordError, match="within the answer would end it"):
        chat.encode(row(Message("assistant", f"Write {end} at the end, then go on.")))


def test_ours_ends_with_a_token_of_any_vocabulary(tmp_path) -> None:
    """DeepSeek-Coder and StarCoder2 have no <|im_end|>; Llama's texts begin with a token."""
    tokenizer = AutoTokenizer.from_pretrained(models.embedded())
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in state["added_tokens"]:
        token["content"] = token["content"].replace("<|im_end|>", "<|EOT|>")
    vocabulary = state["model"]["vocab"]
    vocabulary["<|EOT|>"] = vocabulary.pop("<|im_end|>")
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(config | {"eos_token": "<|EOT|>", "pad_token": "<|EOT|>"})
    )
    chat = Chat(tmp_path)
    assert chat.ours
    assert "<|im_end|>" not in chat.tokenizer.get_vocab()
    assert answer_of(chat, ROW)
    assert chat.tokenizer.decode(chat.encode(ROW)[0].input_ids).endswith("</tool_call><|EOT|>")


# --- what comes back ---


@pytest.mark.parametrize(
    "calls",
    [
        (PARIS,), (ToolCall.of("ping"),), (NESTED,), (NESTED, ToolCall.of("ping")), (PARIS, PARIS),
        (ToolCall.of("get_weather", city="3", days=3, wind=3, tags=["true"], live=False),),
        (ToolCall.of("get_weather", city=""),), (ToolCall.of("get_weather", city="null"),),
    ],
)  # fmt: skip
def test_gold_calls_come_back_and_are_right(native, calls) -> None:
    name, chat = native
    asked = row(Message("assistant", tool_calls=calls))
    if len(calls) > 1 and name in ONE_CALL:
        with pytest.raises(RecordError, match="one call per turn, not 2"):
            chat.encode(asked)
        return
    text = answer_of(chat, asked)
    assert calls_of(text) == [(c.name, c.args) for c in calls]
    assert judge(text, asked).ok


def test_a_thought_and_words_stand_beside_the_calls(native) -> None:
    name, chat = native
    thought = "I use <tool_call> for it." if chat.habits.thinks else "I use it."
    thinking = row(Message("assistant", "", thought, (PARIS,)))
    speaking = row(Message("assistant", "I look.", tool_calls=(PARIS,)))
    if name == "pythonic":  # no mark tells its calls from words
        for asked in (thinking, speaking):
            with pytest.raises(RecordError, match="do not come back"):
                chat.encode(asked)
        return
    answer = answer_of(chat, thinking)
    assert answer.find(thought) < answer.find("get_weather")  # never behind it
    parsed = parse(answer, thinking.tools)
    assert [c.args for c in parsed.calls] == [PARIS.args]
    if chat.habits.thinks and name != "qwen3_5_nothink":  # its prompt shuts the thought
        assert (parsed.thought, parsed.text) == (thought, "")
    parsed = parse(answer_of(chat, speaking), speaking.tools)
    assert [c.args for c in parsed.calls] == [PARIS.args]
    assert "I look." in parsed.text + parsed.thought or name in DROPS_WORDS


def test_results_and_words_follow(native) -> None:
    _, chat = native
    asked = row(
        Message("assistant", tool_calls=(replace(PARIS, id="a"),)),
        Message("tool", "20 degrees", tool_call_id="a"),
        Message("assistant", "It is 20 degrees.", "The tool said so."),
    )
    assert "20 degrees" in chat.prompt_text(asked)
    examples = chat.encode(asked)
    trained = "".join(chat.tokenizer.decode([x for x in e.labels if x != IGNORE]) for e in examples)
    assert trained.count("get_weather") >= 1
    assert "Weather?" not in trained
    parsed = parse(answer_of(chat, asked), asked.tools)
    assert (parsed.calls, parsed.error) == ((), "")
    assert "It is 20 degrees." in parsed.text
    assert not MARKS.search(parsed.text)


def test_two_calls_become_two_turns_where_a_turn_holds_one(native) -> None:
    name, chat = native
    two = (ToolCall("get_weather", '{"city": "Paris"}', "a"), ToolCall("ping", "{}", "b"))
    asked = row(
        Message("assistant", tool_calls=two),
        Message("tool", "pong", tool_call_id="b"),
        Message("tool", "20 degrees", tool_call_id="a"),
        Message("assistant", "Fine."),
    )
    turns = [m for parts in chat.parts(asked) for _, m in parts if m and m.tool_calls]
    assert [len(m.tool_calls) for m in turns] == ([1, 1] if name in ONE_CALL else [2])
    prompt = chat.prompt_text(asked)
    if name in ONE_CALL:  # each call is followed by its own result
        assert prompt.index("20 degrees") < prompt.rindex("ping") < prompt.rindex("pong")


def test_answers_of_a_run_are_trained_and_its_observations_are_not(native) -> None:
    name, chat = native
    run = RUN
    if name == "pythonic":  # no mark tells its calls from a thought in words
        run = replace(RUN, messages=tuple(replace(m, thought="") for m in RUN.messages))
    trained = "".join(
        chat.tokenizer.decode([x for x in example.labels if x != IGNORE])
        for example in chat.encode(run)
    )
    assert all(call.name in trained for call in RUN.calls)
    assert RUN.target.content in trained
    for message in RUN.messages:
        if message.role == "tool":
            assert message.content not in trained
            assert message.content.replace('"', '\\"') not in trained


def test_an_observation_is_what_stands_between_two_answers(native) -> None:
    _, chat = native
    asked = row(
        Message("assistant", tool_calls=(replace(PARIS, id="a"),)),
        Message("tool", "20 degrees", tool_call_id="a"),
    )
    seen = chat.tokenizer.decode(observed(asked, chat))
    assert "20 degrees" in seen
    assert "Paris" not in seen
    assert "Weather?" not in seen
    assert chat.render(asked.messages, asked.tools, generation=True).endswith(seen)


# --- before a run ---


def test_gold_of_the_rows_is_put_through_the_template(native) -> None:
    _, chat = native
    rows = [row(Message("assistant", tool_calls=(c,))) for c in (PARIS, NESTED)]
    assert (
        validate_data.gold_comes_back(rows, chat, 0.0)
        == "2 of 2 right answers come back from the template"
    )


def test_a_template_that_changes_the_rows_calls_stops_the_run(tmp_path) -> None:
    """It passes with any tool but one with an argument `days`."""
    loses = "{% for k, v in c.function.arguments | items if k != 'days' %}{{ k }}={{ v | tojson }}"
    text = WRITTEN["pythonic"].replace(
        "{% for k, v in c.function.arguments | items %}{{ k }}={{ v | tojson }}", loses
    )
    chat = Chat(saved(text, tmp_path))
    assert not chat.ours
    lost = row(Message("assistant", tool_calls=(ToolCall.of("get_weather", city="Rome", days=2),)))
    fine = row(Message("assistant", tool_calls=(PARIS,)))
    with pytest.raises(ConfigError, match=r"1 of 2 rows do not .*city=.*missing_.*template=ours"):
        validate_data.gold_comes_back([fine, lost], chat, 0.05)
    assert validate_data.gold_comes_back([fine, lost], chat, 0.5).startswith("1 of 2 right answers")


@pytest.mark.parametrize("name", ONE_CALL)
def test_rows_of_two_calls_are_counted_and_a_set_of_them_stops(name, tmp_path) -> None:
    chat = Chat(saved(source(name), tmp_path))
    two = row(Message("assistant", tool_calls=(PARIS, ToolCall.of("ping"))))
    one = row(Message("assistant", tool_calls=(PARIS,)))
    said = validate_data.gold_comes_back([one, two], chat, 0.0)
    assert said.endswith("1 rows are refused: template: it writes one call per turn, not 2")
    with pytest.raises(ConfigError, match="is refused: template: it writes one call per turn"):
        validate_data.gold_comes_back([two], chat, 0.0)


# --- rows and markers ---


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([Message("assistant", "Hello.")], "no answer to train on"),
        ([Message("user", "Hi"), Message("assistant", tool_calls=(ToolCall("ping", "[1]"),))],
         "not an object|do not come back"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_written_is_a_bad_row(native, turns, reason) -> None:
    _, chat = native
    with pytest.raises(RecordError, match=reason):
        chat.encode(Trajectory(tuple(turns), (PING,)))
    with pytest.raises(RecordError, match="template: "):
        chat.prompt_ids(Trajectory((), (PING,)))


def test_a_marker_stands_in_the_question_of_any_template(native) -> None:
    _, chat = native
    config = TrainConfig(nat={"template": "a_b"})
    (column,), (plain,) = nat.columns(ROW, chat, config, None), chat.encode(ROW)
    text, before = (chat.tokenizer.decode(x) for x in (column["input_ids"], plain.input_ids))
    assert text.replace("\n[A]", "", 1) == before
    assert f"{ROW.query}\n[A]" in text
    validate_data.parity(Recipe("nat", config, chat), {ROW.id: ROW}, [column], {})


def test_the_template_goes_with_the_adapter(native, tmp_path) -> None:
    _, chat = native
    chat.save(tmp_path)
    assert Chat(tmp_path).prompt_ids(RUN) == chat.prompt_ids(RUN)
    assert (tmp_path / "chat_template.jinja").is_file()
    ends = json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"]
    assert ends == chat.end_ids == Chat(tmp_path).end_ids


def test_a_stored_template_holds_the_marker_and_the_options(native, tmp_path) -> None:
    """Whoever serves the adapter asks as its evaluation asked."""
    _, chat = native
    own = Chat(chat.path, chat_template_kwargs={"enable_thinking": False, "date_string": "1 Mai"})
    own.save(tmp_path, marker='[A] "good"')
    for asked in (ROW, RUN):
        assert Chat(tmp_path).prompt_ids(asked) == own.prompt_ids(asked, marker='[A] "good"')


def test_options_of_the_template_reach_the_prompt(tmp_path) -> None:
    path = saved(source("qwen3"), tmp_path)
    shut = Chat(path, chat_template_kwargs={"enable_thinking": False})
    assert shut.prompt_text(ROW).endswith("<think>\n\n</think>\n\n")
    assert not Chat(path).prompt_text(ROW).endswith("</think>\n\n")
    assert "<think>" not in answer_of(shut, ROW)


def test_a_thought_that_the_prompt_opened_is_part_of_the_answer(tmp_path) -> None:
    chat = Chat(saved(source("qwen3_5_think"), tmp_path))
    prompt = chat.prompt_ids(ROW)
    cut = chat.answer_text(chat.ids("I should look"), prompt)
    assert cut == "<think>\nI should look"
    assert (parse(cut).error, parse(cut).calls) == ("cut", ())
    whole = chat.answer_text(chat.ids("I look.\n</think>\n\nHello."), prompt)
    assert (parse(whole).thought, parse(whole).text) == ("I look.", "Hello.")


# --- vLLM's own parsers ---

PLAIN = ToolCall.of(
    "get_weather", city='São "P", it\'s {x} [y]\nnew </b>', days=-3, live=True, wind=2.5,
    tags=["1", "a, b", "}"], opts={"q": "it's {a: 1}", "n": {"l": ["x", {}]}}, unit="C",
)  # fmt: skip
TEXTS = ToolCall.of("get_weather", city="3", tags=["true"], live=False, unit="C")
# what vLLM 0.32 does not read as it was meant: text that is JSON too, text that a template pastes
# into quotes as it is, Python's values, a second object right behind the first
OTHERWISE = {
    ("llama4", "TWO"),
    ("muse_glimmer", "TEXTS"),
    *((f, calls) for f in ("lfm2_2_5", "lfm2_2_5_v2", "olmo3") for calls in ("PLAIN", "TWO")),
    *(("seed_oss", calls) for calls in ("PLAIN", "TEXTS", "TWO")),
}


@pytest.mark.parametrize("calls", ["PARIS", "PING", "PLAIN", "TEXTS", "TWO", "THOUGHT"])
def test_vllms_parser_of_the_family_extracts_the_same(native, calls) -> None:
    pytest.importorskip("vllm")
    from raytune_agents.inference.replies import ServerParser

    name, chat = native
    made = {
        "PARIS": (PARIS,), "PING": (ToolCall.of("ping"),), "PLAIN": (PLAIN,), "TEXTS": (TEXTS,),
        "TWO": (PLAIN, ToolCall.of("ping")), "THOUGHT": (PARIS,),
    }  # fmt: skip
    thought = "I look it up." if calls == "THOUGHT" and chat.habits.thinks else ""
    asked = row(Message("assistant", "", thought, made[calls]))
    if chat.habits.parser == "openai":
        pytest.skip("Harmony's parser reads token ids of gpt-oss' own vocabulary")
    if chat.habits.parser.startswith("cohere"):
        pytest.importorskip("cohere_melody")
    if not chat.habits.parser or (name, calls) in OTHERWISE:
        return
    if len(made[calls]) > 1 and name in ONE_CALL:
        return
    parser = ServerParser(chat.serving, chat.tokenizer)
    example, prompt = chat.encode(asked)[-1], chat.prompt_ids(asked)
    ids = example.input_ids[len(prompt) : -1]  # vLLM drops the token that ended the answer
    given = parser.calls(chat.tokenizer.decode(ids), ids, chat.tools_text(asked))
    assert given is not None
    assert [(c.name, c.args) for c in given] == calls_of(chat.answer_text(ids, prompt))


def test_every_parser_of_the_table_is_one_of_vllms() -> None:
    known = Path(models.__file__).parents[1]  # read, not imported: it takes seconds
    import importlib.util

    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"vLLM is not installed beside {known}")
    text = (Path(spec.submodule_search_locations[0]) / "tool_parsers/__init__.py").read_text()
    registered = set(re.findall(r'^    "([\w.-]+)": \(', text, re.MULTILINE))
    assert {name for name in families.PARSERS.values() if name} <= registered


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("{{ 'x' * 10**9 }}", "more than 10 s and 1024 MiB (memory)"),
        ("{% generation %}{{ 'a'|center(10**10) }}{% endgeneration %}", "(memory)"),
        ("{{ 'x' * 10**6 }}", "1,000,"),
    ],
)
def test_a_template_that_takes_too_much_is_refused(tmp_path, text, takes) -> None:
    """A model's folder is anybody's: it is looked at in the sandbox first."""
    chat = Chat(saved(text + source("qwen2_5"), tmp_path))
    with pytest.raises(ConfigError, match=re.escape(takes)):
        chat.prompt_text(ROW)
    assert Chat(chat.path, "ours").ours


def test_a_template_that_does_not_end_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(sandbox, "RENDERING", sandbox.Limits(timeout_s=1.0))
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    assert "timeout" in sandbox.template_fault(loop, [], [])
    assert sandbox.template_fault("{{ raise_exception('no') }}", [], []) == ""
