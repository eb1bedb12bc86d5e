"""The bodies of calls that are neither JSON nor Python, by family.

    function    Qwen3-Coder, 3.5, 3.6, Nemotron, Seed   <function=f><parameter=a>1</parameter>
    invoke      MiniMax, DeepSeek V3.2, Muse, MiniCPM5, <invoke name="f"><parameter name="a">1
                dots, Step 3, and Kimi K3 in its own marks
    arg_key     GLM-4, Ling, Hunyuan, Horizon, LongCat   f <arg_key>a</arg_key><arg_value>1
    gemma       Gemma 4, FunctionGemma                  call:f{a:1,b:<|"|>x<|"|>}
    named       Mistral, DeepSeek V3, Kimi K2, Solar,   f[ARGS]{"a": 1}
                PLaMo
    body        Llama 3.1's own functions, functionary  <function=f>{"a": 1}</function>

A reader takes the text and the place where a body starts, and gives its calls and where they end.
It raises ValueError where the body is broken or cut. A value may hold the tag that ends it: it ends
where the dialect goes on behind the tag. Sources: the chat templates that TRL ships, and vLLM's
parsers of the families (vllm/parser, vllm/tool_parsers)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from raytune_agents.calls.coerce import call_of
from raytune_agents.calls.json_text import SPACE, NotACall, decode, dumps, strict_json, unique
from raytune_agents.calls.schema import find
from raytune_agents.records import JsonObject, ToolCall, ToolSpec

Calls = tuple[list[ToolCall], int]
_FUNCTION = re.compile(r"\s*<function=([^>\n]+)>")
_FUNCTION_END = re.compile(r"\s*</function>")
_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>")
_PARAMETER_END = re.compile(r"</parameter>(?=\s*(?:<parameter=|</function>))")
_P = r"(?:[a-z]+:|｜DSML｜ ?)?"  # the name space of the tags
_INVOKE = re.compile(rf"\s*<{_P}(?:invoke|function|tool) name=[\"']?([^\"'>\n]+)[\"']?>")
_INVOKE_END = re.compile(rf"\s*</{_P}(?:invoke|function|tool)>")
_NAMED_PARAMETER = re.compile(
    rf"\s*<{_P}param(?:eter)? name=[\"']?([^\"'>\n]+)[\"']?(?: string=\"(true|false)\")?>"
)
_NAMED_PARAMETER_END = re.compile(
    rf"</{_P}param(?:eter)?>(?=\s*(?:<{_P}param(?:eter)? name=|</{_P}(?:invoke|function|tool)>))"
)
_CALL = re.compile(r'\s*<\|open\|>call tool="([^"]+)"[^<]*<\|sep\|>')
_CALL_END = re.compile(r"\s*<\|close\|>call<\|sep\|>")
_ARGUMENT = re.compile(r'\s*<\|open\|>argument key="([^"]+)"[^<]*<\|sep\|>')
_ARGUMENT_END = re.compile(
    r"<\|close\|>argument<\|sep\|>(?=\s*(?:<\|open\|>argument|<\|close\|>call))"
)
_FUNCTION_BODY = re.compile(r"\s*<function=(?P<name>[^>\n]+)>\s*(?=\{)")
_FUNCTION_BODY_END = re.compile(r"(?:\s*</function>)?")
_CDATA = re.compile(r"<!\[CDATA\[(.*)\]\]>", re.DOTALL)  # MiniCPM5
_TOOL_NAME: Any = re.compile(r"\s*([\w.:/-]+)")
_I, _V = r"(?:ifm\||longcat_)?", r"(?::\w+)?"  # the tags of some carry a maker or a version
_ARG_KEY = re.compile(
    rf"\s*<{_I}arg_key{_V}>([^<]*)</{_I}arg_key{_V}>\s*"
    rf"(?:<ifm\|arg_type>[^<]*</ifm\|arg_type>\s*)?<{_I}arg_value{_V}>"
)
_ARG_VALUE_END = re.compile(
    rf"</{_I}arg_value{_V}>(?=\s*(?:<{_I}arg_key{_V}>|</{_I}tool_call{_V}>))"
)
_ARG_NAME = re.compile(rf"\s*[\w.:/-]+\s*<(?:{_I}arg_key{_V}|tool_sep{_V}|/{_I}tool_call{_V})>")
_ARG_CALL_END = re.compile(rf"\s*</{_I}tool_call{_V}>")
_ARG_SEP: Any = re.compile(rf"(?:\s*<tool_sep{_V}>)?")
_GEMMA = re.compile(r"\s*call:\s*([^\s{]+)\s*\{")
_GEMMA_QUOTES = ('<|"|>', "<escape>")
_GEMMA_KEY = re.compile(r"([^:{}\[\],<]+):\s*")
_COLON = re.compile(r"\s*:\s*")
_BARE = re.compile(r"[^,{}\[\]]*")
_COMMA: Any = re.compile(r"\s*,?\s*")
# name, an id or nothing, then JSON; the mark between them may be lost, as Mistral's [ARGS]
_NAMED = re.compile(
    r"\s*+(?:<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?|<\|tool_call_begin\|>"
    r"|<\|tool_call:begin\|>\w*<\|tool_call:name\|>"
    r"|<\|plamo:begin_tool_request:plamo\|><\|plamo:begin_tool_name:plamo\|>)?\s*+"
    r"(?:functions\.)?(?P<name>[^\s<\[{(]+?)(?::\d+)?\s*+"
    r"(?:\[CALL_ID\][\w-]*)?"
    r"(?:\[ARGS\]|<｜tool▁sep｜>|<\|tool_call_argument_begin\|>|<\|tool_call:args\|>|```json\n"
    r"|(?:<\|plamo:[\w:]+\|>)+json<\|plamo:msg\|>)?"
    r"\s*+(?=\{)"
)
_NAMED_END: Any = re.compile(
    r"\s*(?:```)?\s*(?:<｜tool▁call▁end｜>|<\|tool_call(?:_|:)end\|>"
    r"|(?:<\|plamo:end_\w+:plamo\|>)+)?"
)


def _arguments(
    text: str, at: int, begins: re.Pattern[str], ends: re.Pattern[str]
) -> tuple[list[tuple[str, Any]], int]:
    """The names of a call's arguments, their texts, or what these are in JSON where the call says
    so, and where they end."""
    pairs: list[tuple[str, Any]] = []
    while key := begins.match(text, at):
        end = ends.search(text, key.end())
        if not end:
            raise ValueError(f"the argument {key[1]!r} does not end")
        value: Any = text[key.end() : end.start()]
        if key.re.groups > 1 and key[2] == "false":  # DeepSeek: it is no string
            with suppress(ValueError):
                value = strict_json(value)
        pairs.append((key[1].strip(), value))
        at = end.end()
    return pairs, at


def _without_cdata(value: Any) -> Any:
    found = _CDATA.fullmatch(value) if isinstance(value, str) else None
    return found[1] if found else value


def _tags(
    text: str,
    at: int,
    tools: Sequence[ToolSpec],
    marks: tuple[re.Pattern[str], ...],
    trim: bool = False,
) -> Calls:
    """Calls of one tag each with a tag for every parameter."""
    opened, parameter, parameter_end, closed = marks
    calls = []
    while name := opened.match(text, at):
        pairs, at = _arguments(text, name.end(), parameter, parameter_end)
        pairs = [(key, _without_cdata(v)) for key, v in pairs]
        end = closed.match(text, at)
        if not end:
            raise ValueError(f"the call of {name[1]!r} does not end")
        calls.append(call_of(name[1].strip(), pairs, tools, trim))
        at = end.end()
    return calls, at


def arg_keys(text: str, at: int, tools: Sequence[ToolSpec]) -> Calls:
    """One call: a name, then a key and a value in tags for every argument."""
    name = _TOOL_NAME.match(text, at)
    start = _ARG_SEP.match(text, name.end()).end()
    pairs, at = _arguments(text, start, _ARG_KEY, _ARG_VALUE_END)
    if not _ARG_CALL_END.match(text, at):
        raise ValueError(f"the call of {name[1]!r} does not end")
    if not pairs and tools and not find(name[1], tools):
        raise NotACall(f"{name[1]!r} is a word, not a tool")
    return [call_of(name[1], pairs, tools)], at


def json_bodies(
    opened: re.Pattern[str], closed: Any, text: str, at: int, tools: Sequence[ToolSpec]
) -> Calls:
    """Calls of a name and its arguments in JSON, one after another."""
    calls = []
    while name := opened.match(text, at):
        _, end = decode(text, name.end())
        calls.append(ToolCall(name["name"].strip(), text[name.end() : end]))
        at = closed.match(text, end).end()
    return calls, at


def gemma_call(text: str, at: int, tools: Sequence[ToolSpec]) -> Calls:
    name: Any = _GEMMA.match(text, at)
    value, end = _gemma_object(text, name.end(), 0)
    return [ToolCall(name[1], dumps(value))], end


def _gemma_object(text: str, at: int, depth: int) -> tuple[JsonObject, int]:
    """The object whose opening bracket stands before `at`, and the place behind it."""
    pairs: list[tuple[str, Any]] = []
    at = SPACE.match(text, at).end()
    while not text.startswith("}", at):
        if quoted := _gemma_text(text, at):
            colon = _COLON.match(text, quoted[1])
            key, begin = quoted[0], colon.end() if colon else -1
        else:
            found = _GEMMA_KEY.match(text, at)
            key, begin = (found[1].strip(), found.end()) if found else ("", -1)
        if begin < 0:
            raise ValueError("no key")
        value, at = _gemma_value(text, begin, depth)
        pairs.append((key, value))
        at = _COMMA.match(text, at).end()
    return unique(pairs), at + 1


def _gemma_value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > 100:
        raise ValueError("nested too deeply")
    if quoted := _gemma_text(text, at):
        return quoted
    if text.startswith("{", at):
        return _gemma_object(text, at + 1, depth + 1)
    if text.startswith("[", at):
        items, at = [], SPACE.match(text, at + 1).end()
        while not text.startswith("]", at):
            item, at = _gemma_value(text, at, depth + 1)
            items.append(item)
            at = _COMMA.match(text, at).end()
        return items, at + 1
    bare: Any = _BARE.match(text, at)
    if not bare[0].strip() or bare.end() == len(text):
        raise ValueError("a value is missing or does not end")
    return _gemma_word(bare[0].strip()), bare.end()


def _gemma_text(text: str, at: int) -> tuple[str, int] | None:
    """The quoted text at `at` and its end, or None."""
    if text.startswith('"', at):
        return decode(text, at)
    quote = next((q for q in _GEMMA_QUOTES if text.startswith(q, at)), "")
    if not quote:
        return None
    end = text.find(quote, at + len(quote))
    if end < 0:
        raise ValueError("a text does not end")
    return text[at + len(quote) : end], end + len(quote)


def _gemma_word(word: str) -> Any:
    """A value without quotes: JSON's or Python's words, a number, else text."""
    try:
        value, end = decode({"None": "null", "True": "true", "False": "false"}.get(word, word))
    except ValueError:
        return word
    return value if end >= len(word) or word in ("None", "True", "False") else word


Reader = Callable[[str, int, Sequence[ToolSpec]], Calls]
_FUNCTION_MARKS = (_FUNCTION, _PARAMETER, _PARAMETER_END, _FUNCTION_END)
_INVOKE_MARKS = (_INVOKE, _NAMED_PARAMETER, _NAMED_PARAMETER_END, _INVOKE_END)
_CHANNEL_MARKS = (_CALL, _ARGUMENT, _ARGUMENT_END, _CALL_END)
# how a body starts -> its dialect and its reader; the first that fits
SHAPES: tuple[tuple[re.Pattern[str], str, Reader], ...] = (
    (_FUNCTION_BODY, "function", partial(json_bodies, _FUNCTION_BODY, _FUNCTION_BODY_END)),
    (_FUNCTION, "function", partial(_tags, marks=_FUNCTION_MARKS, trim=True)),
    (_INVOKE, "invoke", partial(_tags, marks=_INVOKE_MARKS)),
    (_CALL, "invoke", partial(_tags, marks=_CHANNEL_MARKS)),
    (_GEMMA, "gemma", gemma_call),
    (_NAMED, "named", partial(json_bodies, _NAMED, _NAMED_END)),
    (_ARG_NAME, "arg_key", arg_keys),
)


def shape_of(text: str, at: int) -> tuple[str, Reader] | None:
    """The dialect of the body that starts at `at`, and its reader; None for JSON and Python."""
    return next(((name, read) for mark, name, read in SHAPES if mark.match(text, at)), None)
