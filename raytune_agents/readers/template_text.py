"""A dialogue in one text, as a chat template wrote it, as the turns that it was made from: with
another template around it, it would be trained with both."""

from __future__ import annotations

import re
from typing import Any

from raytune_agents.calls.parse import without_ends

# what stands before a turn; the group of a family holds who speaks
_TURN = re.compile(
    r"<\|im_start\|>(?P<chatml>\w+)\n"
    r"|<\|start_header_id\|>(?P<llama>\w+)<\|end_header_id\|>\s*"
    r"|<\|header_start\|>(?P<llama_4>\w+)<\|header_end\|>\s*"
    r"|<start_of_turn>(?P<gemma>\w+)\n"
    r"|<\|turn>(?P<gemma_4>\w+)\n"
    r"|<\|(?P<phi>system|user|assistant|tool|observation)\|>\s*"
    r"|\[\|(?P<exaone>system|user|assistant|tool)\|\]"
    r"|(?P<mistral>\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS)\]|<</?SYS>>)\s*"
    r"|<\|start_of_role\|>(?P<granite>\w+)[^<]*<\|end_of_role\|>"
    r"|<\|im_(?:system|user|assistant)\|>(?P<kimi>\w+)<\|im_middle\|>"
    r"|<｜(?P<deepseek>begin▁of▁sentence|User|Assistant|tool▁outputs?▁(?:begin|end))｜>"
    r"|\]~b\](?P<minimax>\w+)\n"
    r"|<seed:bos>(?P<seed>\w+)\n"
    r"|<\|START_OF_TURN_TOKEN\|><\|(?P<command>SYSTEM|USER|CHATBOT)_TOKEN\|>"
    r"|<\|start\|>(?P<harmony>assistant|(?!assistant)[\w.]+[^<]*(?:<\|channel\|>\w+)?<\|message\|>)"
)
# a mark that is no word for who speaks -> who does
_SPEAKER = {
    **dict.fromkeys(("<<SYS>>", "[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]"), "system"),
    **dict.fromkeys(("[INST]", "<</SYS>>", "[/SYSTEM_PROMPT]", "[/AVAILABLE_TOOLS]"), "user"),
    **dict.fromkeys(("[/INST]", "[/TOOL_RESULTS]"), "assistant"),
    "[TOOL_RESULTS]": "tool",
    "begin▁of▁sentence": "system",  # DeepSeek's system text has no mark of its own
    **dict.fromkeys(("tool▁output▁begin", "tool▁outputs▁begin"), "tool"),
    **dict.fromkeys(("tool▁output▁end", "tool▁outputs▁end"), "assistant"),
}
_START = re.compile(
    r"\s*(?:<s>|<bos>|<BOS_TOKEN>|<\|begin_of_text\|>|<\|startoftext\|>|\[gMASK\]<sop>|\]~!b\[)?\s*"
)
_NAMED_TOOL = re.compile(r"functions\.([\w.-]+)")


def template_turns(text: Any) -> list[dict[str, str]]:
    """The turns of a text that a chat template wrote, [] for any other."""
    found = list(_TURN.finditer(text)) if isinstance(text, str) else []
    if not found or not _START.fullmatch(text, 0, found[0].start()):
        return []
    ends = [m.start() for m in found[1:]] + [len(text)]
    turns: list[dict[str, str]] = []
    for mark, end in zip(found, ends):
        word = mark[mark.lastgroup or 0]
        content = without_ends(text[mark.end() : end].rstrip().removesuffix("<s>"))
        if not content:
            continue
        turn = {"role": _SPEAKER.get(word, word), "content": content}
        if mark["harmony"]:
            turn["role"] = re.split(r"[\s<]", word)[0]
            if tool := _NAMED_TOOL.match(word):
                turn |= {"role": "tool", "name": tool[1]}
            if word == "assistant" and turns and turns[-1]["role"] == word:  # of one answer
                turn["content"] = f"{turns.pop()['content']}<|end|><|start|>assistant{content}"
        turns.append(turn)
    return turns
