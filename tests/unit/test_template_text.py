"""Dialogues in one text, as chat templates write them: each becomes its turns, so that no row is
trained with two templates."""

from __future__ import annotations

import pytest
from row_reading import calls, read, roles

WEATHER = {"name": "get_weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
# what a template writes up to where the model answers "Mild." to "hi", and after it
PROMPTS = {
    "llama 4": ("<|begin_of_text|><|header_start|>user<|header_end|>\n\nhi<|eot|>"
                "<|header_start|>assistant<|header_end|>\n\n", "<|eot|>"),
    "granite": ("<|start_of_role|>user<|end_of_role|>hi<|end_of_text|>\n"
                "<|start_of_role|>assistant<|end_of_role|>", "<|end_of_text|>"),
    "kimi": ("<|im_user|>user<|im_middle|>hi<|im_end|><|im_assistant|>assistant<|im_middle|>",
             "<|im_end|>"),
    "deepseek": ("<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜></think>",
                 "<｜end▁of▁sentence｜>"),
    "gemma 4": ("<bos><|turn>user\nhi<turn|>\n<|turn>model\n", "<turn|>"),
    "minimax": ("]~!b[]~b]user\nhi[e~[\n]~b]ai\n", "[e~["),
    "seed": ("<seed:bos>user\nhi<seed:eos><seed:bos>assistant\n", "<seed:eos>"),
    "command": ("<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>hi<|END_OF_TURN_TOKEN|>"
                "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", "<|END_OF_TURN_TOKEN|>"),
    "exaone": ("[|user|]hi[|endofturn|]\n[|assistant|]", "[|endofturn|]"),
    "harmony": ("<|start|>user<|message|>hi<|end|><|start|>assistant<|channel|>final<|message|>",
                "<|return|>"),
    "qwen3 without a thought": ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
                                "<think>\n\n</think>\n\n", "<|im_end|>"),
    "glm without a thought": ("[gMASK]<sop><|user|>\nhi<|assistant|>\n<think></think>\n", ""),
}


@pytest.mark.parametrize("family", PROMPTS)
def test_a_text_of_a_template_is_its_turns(family):
    prompt, end = PROMPTS[family]
    for row in (read({"prompt": prompt, "completion": f"Mild.{end}"}),
                read({"text": f"{prompt}Mild.{end}"})):
        assert [(m.role, m.content) for m in row.messages] == [("user", "hi"),
                                                               ("assistant", "Mild.")], row


RUNS = {
    "deepseek": "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Weather?<｜Assistant｜><think>Hm."
    '</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}'
    "<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁output▁begin｜>20 C"
    "<｜tool▁output▁end｜>It is 20.<｜end▁of▁sentence｜>",
    "harmony": "<|start|>system<|message|>Be brief.<|end|><|start|>user<|message|>Weather?<|end|>"
    "<|start|>assistant<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>"
    'commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>'
    "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>20 C<|end|>"
    "<|start|>assistant<|channel|>final<|message|>It is 20.<|return|>",
    "mistral": "<s>[SYSTEM_PROMPT]Be brief.[/SYSTEM_PROMPT][INST]Weather?[/INST][THINK]Hm.[/THINK]"
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}</s>[TOOL_RESULTS]20 C[/TOOL_RESULTS]'
    "It is 20.</s>",
}


@pytest.mark.parametrize("family", RUNS)
def test_calls_and_results_of_a_text_are_turns(family):
    row = read({"text": RUNS[family], "tools": [WEATHER]})
    assert roles(row) == "suata"
    assert calls(row) == [["get_weather", {"city": "Paris"}]]
    assert [m.thought for m in row.messages if m.role == "assistant"] == ["Hm.", ""]
    assert [m.content for m in row.messages[3:]] == ["20 C", "It is 20."]


@pytest.mark.parametrize("empty", ["<think>\n\n</think>\n\n", "<think></think>", "</think>"])
def test_marks_around_no_thought_are_no_part_of_the_answer(empty):
    row = read({"messages": [{"role": "user", "content": "hi"},
                             {"role": "assistant", "content": f"{empty}Mild."}]})
    assert (row.messages[1].content, row.messages[1].thought) == ("Mild.", "")
