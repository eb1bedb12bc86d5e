"""Calls in the dialect of every family: text as models write it, values typed by the schema."""

import json

import pytest
from soon import ends_soon

from raytune_agents.calls import fault_of, judge, parse
from raytune_agents.calls.thoughts import opened_thought, split_thought
from raytune_agents.records import Message, ToolCall, ToolSpec, Trajectory

WEATHER = ToolSpec("get_weather", "", json.dumps({"type": "object", "required": ["city"],
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
        "wind": {"type": "number"}, "live": {"type": "boolean"},
        "unit": {"type": ["string", "null"], "enum": ["C", "F", None]},
        "tags": {"type": "array", "items": {"type": "string"}}, "opts": {"type": "object"},
        "free": {}, "of": {"$ref": "#/$defs/count"}},
    "$defs": {"count": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}}))  # fmt: skip
PING = ToolSpec("ping")
TOOLS = (WEATHER, PING)
PARIS = [("get_weather", {"city": "Paris", "days": 3})]
BOTH = [*PARIS, ("ping", {})]
ARGS = '{"city": "Paris", "days": 3}'


def read(text: str) -> list[tuple[str, dict]]:
    parsed = parse(text, TOOLS)
    assert not parsed.error, parsed
    return [(c.name, c.args) for c in parsed.calls]


def xml(**values: str) -> str:
    inside = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in values.items())
    return f"<tool_call>\n<function=get_weather>\n{inside}</function>\n</tool_call>"


# The forms are those of the families' own chat templates and of vLLM's parsers of them.
FAMILIES = {
    "qwen3 coder": xml(city="Paris", days="3")
    + "\n<tool_call>\n<function=ping>\n</function>\n</tool_call>",
    "qwen3 coder without tags": "<function=get_weather><parameter=city>Paris</parameter>"
    "<parameter=days>3</parameter></function><function=ping></function>",
    "seed": "<seed:tool_call><function=get_weather><parameter=city>Paris</parameter>"
    "<parameter=days>3</parameter></function><function=ping></function></seed:tool_call>",
    "glm 4": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n<tool_call>ping\n</tool_call>",
    "gemma 4": '<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3}<tool_call|>'
    "<|tool_call>call:ping{}<tool_call|><|tool_response>",
    "functiongemma": "<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:3}"
    "<end_function_call><start_function_call>call:ping{}<end_function_call>",
    "lfm2": "<|tool_call_start|>[get_weather(city='Paris', days=3), ping()]<|tool_call_end|>",
    "minicpm 4": "<|tool_call_start|>\n```python\nget_weather(city='Paris', days=3)\nping()\n```\n"
    "<|tool_call_end|>\n",
    "hermes, fenced": f'<tool_call>\n```json\n{{"name": "get_weather", "arguments": {ARGS}}}\n```\n'
    '</tool_call>\n<tool_call>{"name": "ping"}</tool_call>',
    "llama 4": f'<|python_start|><|python_end|>{{"name": "get_weather", "parameters": {ARGS}}}'
    '{"name": "ping", "parameters": {}}<|eot|>',
    "llama 4 pythonic": "<|python_start|>[get_weather(city='Paris', days=3), ping()]<|python_end|>",
    "hyperclova": f' -> tool/function_call\n[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]',
    "llama pythonic": "[get_weather(city='Paris', days=3), ping()]<|eot_id|>",
    "olmo 3": '<function_calls>get_weather(city="Paris", days=3)\nping()</function_calls>',
    "harmony": f" to=functions.get_weather<|channel|>commentary json<|message|>{ARGS}<|call|>"
    "<|start|>assistant<|channel|>commentary to=functions.ping <|constrain|>json<|message|>{}",
    "muse": " to=get_weather<|message|><atem:function_calls>\n"
    '<atem:invoke name="get_weather">\n<atem:parameter name="city">Paris</atem:parameter>\n'
    '<atem:parameter name="days">3</atem:parameter>\n</atem:invoke>\n</atem:function_calls><|eom|>'
    "<|start|>assistant to=ping<|message|><atem:function_calls>\n"
    '<atem:invoke name="ping">\n</atem:invoke>\n</atem:function_calls><|eot|>',
    "minimax": '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris'
    '</parameter>\n<parameter name="days">3</parameter>\n</invoke>\n<invoke name="ping">\n</invoke>'
    "\n</minimax:tool_call>",
    "deepseek 3": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
    f"```json\n{ARGS}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n"
    "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
    "deepseek 3.1": f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{ARGS}"
    "<｜tool▁call▁end｜><｜tool▁call▁begin｜>ping<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek 3.2": '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
    '<｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>\n'
    '<｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
    '<｜DSML｜invoke name="ping">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    "kimi k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    f"<|tool_call_argument_begin|>{ARGS}<|tool_call_end|><|tool_call_begin|>functions.ping:1"
    "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
    "kimi k2, bare": f"<|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{ARGS}"
    "<|tool_call_end|><|tool_call_begin|>functions.ping:1<|tool_call_argument_begin|>{}"
    "<|tool_call_end|>",
    "deepseek 3.1, bare": f"<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{ARGS}<｜tool▁call▁end｜>"
    "<｜tool▁call▁begin｜>ping<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
    "longcat": "<longcat_tool_call>get_weather\n<longcat_arg_key>city</longcat_arg_key>\n"
    "<longcat_arg_value>Paris</longcat_arg_value>\n<longcat_arg_key>days</longcat_arg_key>\n"
    "<longcat_arg_value>3</longcat_arg_value>\n</longcat_tool_call>\n"
    "<longcat_tool_call>ping\n</longcat_tool_call>",
    "minimax, bare": '<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">3</parameter>\n</invoke>\n<invoke name="ping">\n</invoke>',
    "fenced list": f'```json\n{{"tool_calls": [{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]}\n```',
    "react, fenced": f"Action: get_weather\nAction Input: ```json\n{ARGS}\n```\n"
    "Action: ping\nAction Input: {}",
    "mistral 7": f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {ARGS}, "id": "aB3dE5gH1"}},'
    '{"name": "ping", "arguments": {}, "id": "aB3dE5gH2"}]</s>',
    "mistral 11": f"[TOOL_CALLS]get_weather[ARGS]{ARGS}[TOOL_CALLS]ping[ARGS]{{}}</s>",
    "mistral 13": f"[TOOL_CALLS]get_weather[CALL_ID]a1[ARGS]{ARGS}"
    "[TOOL_CALLS]ping[CALL_ID]a2[ARGS]{}",
    "granite 3": f'<|tool_call|>[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]<|end_of_text|>',
    "granite 20b": f'<function_call> {{"name": "get_weather", "arguments": {ARGS}}} '
    '<function_call> {"name": "ping", "arguments": {}}',
    "phi 4 mini": f'<|tool_call|>[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]<|/tool_call|><|end|>',
    "phi 4 functools": f'functools[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]',
    "jamba": f'<tool_calls>[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]</tool_calls>',
    "deepseek 4.1": '<｜DSML｜ calls>\n<｜DSML｜ invoke name="get_weather">\n'
    '<｜DSML｜ parameter name="city" string="true">Paris</｜DSML｜ parameter>\n'
    '<｜DSML｜ parameter name="days" string="false">3</｜DSML｜ parameter>\n</｜DSML｜ invoke>\n'
    '<｜DSML｜ invoke name="ping">\n</｜DSML｜ invoke>\n</｜DSML｜ calls>',
    "dots": '<dots_function_call>\n<invoke name="get_weather">\n<parameter name="city">Paris'
    '</parameter>\n<parameter name="days">3</parameter>\n</invoke>\n<invoke name="ping">\n</invoke>'
    "\n</dots_function_call>",
    "step 3": "<｜tool_calls_begin｜><｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke "
    'name="get_weather"><steptml:parameter name="city">Paris</steptml:parameter><steptml:parameter '
    'name="days">3</steptml:parameter></steptml:invoke><｜tool_call_end｜>\n<｜tool_call_begin｜>'
    'function<｜tool_sep｜><steptml:invoke name="ping"></steptml:invoke><｜tool_call_end｜>'
    "<｜tool_calls_end｜>",
    "kimi k3": '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|><|open|>'
    'argument key="city" type="string"<|sep|>Paris<|close|>argument<|sep|><|open|>argument '
    'key="days" type="number"<|sep|>3<|close|>argument<|sep|><|close|>call<|sep|><|open|>call '
    'tool="ping" index="2"<|sep|><|close|>call<|sep|><|close|>tools<|sep|>',
    "hunyuan 4": "<tool_calls:6124c78e><tool_call:6124c78e>get_weather<tool_sep:6124c78e>"
    "<arg_key:6124c78e>city</arg_key:6124c78e><arg_value:6124c78e>Paris</arg_value:6124c78e>"
    "<arg_key:6124c78e>days</arg_key:6124c78e><arg_value:6124c78e>3</arg_value:6124c78e>"
    "</tool_call:6124c78e><tool_call:6124c78e>ping<tool_sep:6124c78e></tool_call:6124c78e>"
    "</tool_calls:6124c78e>",
    "k2 horizon": "<ifm|tool_calls>\n<ifm|tool_call>get_weather\n<ifm|arg_key>city</ifm|arg_key>"
    "<ifm|arg_type>string</ifm|arg_type><ifm|arg_value>Paris</ifm|arg_value>\n"
    "<ifm|arg_key>days</ifm|arg_key><ifm|arg_value>3</ifm|arg_value></ifm|tool_call>\n"
    "<ifm|tool_call>ping</ifm|tool_call></ifm|tool_calls>",
    "plamo 3": "<|plamo:begin_tool_requests:plamo|>" + "".join(
        f"<|plamo:begin_tool_request:plamo|><|plamo:begin_tool_name:plamo|>{name}"
        "<|plamo:end_tool_name:plamo|><|plamo:begin_tool_arguments:plamo|><|plamo:constrain|>json"
        f"<|plamo:msg|>{arguments}<|plamo:end_tool_arguments:plamo|><|plamo:end_tool_request:plamo|>"
        for name, arguments in (("get_weather", ARGS), ("ping", "{}"))
    ) + "<|plamo:end_tool_requests:plamo|>",
    "mistral without its mark": f"[TOOL_CALLS]get_weather{ARGS}[TOOL_CALLS]ping{{}}</s>",
    "command": f'<|START_ACTION|>[{{"tool_call_id": "0", "tool_name": "get_weather", "parameters": '
    f'{ARGS}}}, {{"tool_call_id": "1", "tool_name": "ping", "parameters": {{}}}}]<|END_ACTION|>',
    "internlm": f'<|action_start|><|plugin|>{{"name": "get_weather", "parameters": {ARGS}}}'
    '<|action_end|><|action_start|><|plugin|>{"name": "ping", "parameters": {}}<|action_end|>',
    "nemotron": f'<TOOLCALL>[{{"name": "get_weather", "arguments": {ARGS}}}, '
    '{"name": "ping", "arguments": {}}]</TOOLCALL>',
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_two_calls_of_every_family(family):
    assert read(FAMILIES[family]) == BOTH


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("harmony", "muse")])
@pytest.mark.parametrize("before", ["I look.\n", "<think>I use <tool_call> here.</think>\n",
                                    "I use <tool_call> here.\n</think>\n\n"])  # fmt: skip
def test_words_or_a_thought_before_the_calls(family, before):
    if family in ("llama pythonic", "qwen3 coder without tags") and "think" not in before:
        return  # these have no mark that tells a call from words
    parsed = parse(before + FAMILIES[family], TOOLS)
    assert [(c.name, c.args) for c in parsed.calls] == BOTH
    assert parsed.text == ("I look." if before.startswith("I look") else "")
    assert parsed.thought == ("" if parsed.text else "I use <tool_call> here.")


def test_a_fence_of_a_tool_holds_calls_and_its_values_may_hold_a_fence() -> None:
    code = "I look.\n```tool_code\nget_weather(city='Paris', days=3)\nping()\n```"  # Gemma 3
    assert read(code) == BOTH
    assert parse("```python\nprint(f(a=1))\n```").dialect == "text"
    fenced = '```json\n{"name": "get_weather", "arguments": {"city": "```\\n```"}}\n```\nDone.'
    assert read(fenced) == [("get_weather", {"city": "```\n```"})]
    assert parse(fenced).text == "Done."


def test_channels_hold_thoughts_and_words():
    thought = "<|channel|>analysis<|message|>I think.<|end|><|start|>assistant"
    parsed = parse(thought + FAMILIES["harmony"], TOOLS)
    assert ([c.name for c in parsed.calls], parsed.thought) == (["get_weather", "ping"], "I think.")
    final = parse(f"{thought}<|channel|>final<|message|>It is 20 C.<|return|>")
    assert (final.calls, final.text, final.thought) == ((), "It is 20 C.", "I think.")
    assert parse(" to=user<|message|>It is 20 C.<|eot|>").text == "It is 20 C."


# --- values ---


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("city", "3", "3"), ("city", "true", "true"), ("city", '{"a": 1}', '{"a": 1}'),
        ("city", " two  words ", " two  words "), ("city", "a\nb\n", "a\nb\n"), ("city", "", ""),
        ("city", "</parameter> and </function> and </tool_call>",
         "</parameter> and </function> and </tool_call>"),
        ("city", "São Paulo 🌦 <b>", "São Paulo 🌦 <b>"),
        ("days", "3", 3), ("days", "three", "three"), ("days", "3.0", 3.0), ("wind", "2.5", 2.5),
        ("wind", "2", 2), ("wind", "1e999", "1e999"), ("live", "True", True), ("live", "0", False),
        ("unit", "None", None), ("unit", "null", None), ("unit", "C", "C"),
        ("tags", '["3", "x"]', ["3", "x"]), ("opts", '{"a": [1, null]}', {"a": [1, None]}),
        ("opts", '{"a": ', '{"a": '), ("free", "3", 3), ("free", "x", "x"), ("of", "3", 3),
        ("of", "x", "x"), ("unknown", "3", 3),
    ],
)  # fmt: skip
def test_text_takes_the_type_of_the_schema(key, text, value):
    ((_, given),) = read(xml(**{key: text}))
    assert given == {key: value}
    assert type(given[key]) is type(value)
    ((_, given),) = read(
        f"<tool_call>get_weather\n<arg_key>{key}</arg_key><arg_value>{text}</arg_value></tool_call>"
    )
    assert given == {key: value}


def test_without_tools_text_stays_text():
    (call,) = parse(xml(days="3", live="True")).calls
    assert call.args == {"days": "3", "live": "True"}


def test_values_of_gemma():
    text = ('<|tool_call>call:get_weather{opts:{a:{<|"|>b c<|"|>:[1,-2.5,null,None,<|"|>}x{<|"|>]'
            '}},city:<|"|>a, b: {c}<|"|>,live:true,tags:[]}<tool_call|>')  # fmt: skip
    ((_, given),) = read(text)
    assert given == {"opts": {"a": {"b c": [1, -2.5, None, None, "}x{"]}},
                     "city": "a, b: {c}", "live": True, "tags": []}  # fmt: skip


def test_values_pasted_into_python():
    text = ("[get_weather(city='it's \"here\", (b) = [c]', opts={\"a\": null, \"b\": true}, "
            "tags=['u', 'v'], live=True, days=-3), ping()]")  # fmt: skip
    assert read(f"<|tool_call_start|>{text}<|tool_call_end|>") == [
        ("get_weather", {"city": "it's \"here\", (b) = [c]", "opts": {"a": None, "b": True},
                         "tags": ["u", "v"], "live": True, "days": -3}), ("ping", {})]  # fmt: skip
    assert read('[Market Trends API(kind="a", from="b")]') == [
        ("Market Trends API", {"kind": "a", "from": "b"})]  # fmt: skip
    assert parse("[A remark about f (and g).]").dialect == "text"


# --- what is broken, cut or no call ---


@pytest.mark.parametrize("family", FAMILIES)
def test_no_part_of_an_answer_is_another_answer(family):
    """An answer cut anywhere is broken, prose, or the calls that stand there whole."""
    text = FAMILIES[family]
    for end in range(len(text)):
        found = [(c.name, c.args) for c in parse(text[:end], TOOLS).calls]
        assert found in ([], BOTH[:1], BOTH), text[:end]


CUT = ["<think>I should", "<think>", "<|channel|>analysis<|message|>I should", "[THINK]a",
       " to=self<|message|>I", "<|channel>thought\nI should use <|tool_call>"]  # fmt: skip


@pytest.mark.parametrize("text", CUT)
def test_an_unfinished_thought_is_cut_and_no_answer(text):
    parsed = parse(text, TOOLS)
    assert (parsed.calls, parsed.error, parsed.text) == ((), "cut", "")
    call = Message("assistant", tool_calls=(ToolCall.of("ping"),))
    for target in (call, Message("assistant", "No tool fits.")):
        row = Trajectory((Message("user", "?"), target), TOOLS)
        assert judge(text, row).error == "cut"
        assert fault_of(text, row) == "cut"


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nPar",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Par",
        '<|tool_call>call:get_weather{city:<|"|>Par', "<|tool_call>call:get_weather{days:",
        '[TOOL_CALLS]get_weather[ARGS]{"city": ', '<|tool_call|>[{"name": "get_weather"',
        "<|tool_call_start|>[get_weather(city='Par",
        ' to=functions.ping<|channel|>commentary json<|message|>{"a": ',
        xml(city="a") .replace("</tool_call>", "") + " and more",
        "<tool_call>\n<function=ping>\n<parameter=a>\n1\n</parameter>\n<parameter=a>\n2\n"
        "</parameter>\n</function>\n</tool_call>",
    ],
)  # fmt: skip
def test_a_broken_call_is_decoder_failed(text):
    parsed = parse(text, TOOLS)
    assert (parsed.calls, parsed.error) == ((), "decoder_failed")


def test_a_word_between_tags_is_no_call():
    assert parse("<tool_call>maybe</tool_call>", TOOLS).error
    assert read("<tool_call>ping</tool_call>") == [("ping", {})]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call><function=" + " " * 300_000, "<function=a><parameter=b>" * 40_000,
        "<tool_call>f<arg_key>" + " " * 300_000, '<|tool_call>call:f{a:<|"|>' * 20_000,
        "<|tool_call>call:f{" + "a:[" * 100_000, "[TOOL_CALLS]" * 40_000 + "f[ARGS]{",
        "<|message|>" * 100_000, "<|start|>assistant<|channel|>analysis<|message|>" * 30_000,
        "[TOOL_CALLS]f" + " " * 300_000, "[TOOL_CALLS]f{}" + " " * 300_000 + "x",
        "[f(a='" + "', b='" * 30_000, "</think>" * 100_000, "<tool_call>{</think>" * 20_000,
        '<invoke name="f"><parameter name="a"></parameter>' * 20_000,
    ],
    ids=lambda t: repr(t[:20]),
)  # fmt: skip
def test_hostile_text_of_a_dialect_ends_soon(text):
    with ends_soon():
        parse(text, TOOLS)


# --- thoughts ---


def test_a_thought_that_the_prompt_opens():
    assert opened_thought("<|im_start|>assistant\n<think>\n") == "<think>\n"
    assert opened_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n") == ""
    assert opened_thought("Say <think> to me<|im_end|>\n<|im_start|>assistant\n") == ""
    assert split_thought("so\n</think>\n\nHi") == ("so", "\n\nHi", False)


@pytest.mark.parametrize("text", [
    '<tool_call>{"name": "get_weather", "arguments": {"city": "</think>"}}</tool_call>',
    '{"name": "get_weather", "arguments": {"city": "</think>"}}', xml(city="</think>"),
    '<tool_call>{"name": "ping", "arguments": {}}</tool_call>\n'
    '<tool_call>{"name": "get_weather", "arguments": {"city": "</think>"}}</tool_call>',
])  # fmt: skip
def test_a_mark_within_a_call_is_text(text):
    assert read(text)[-1] == ("get_weather", {"city": "</think>"})


def test_marks_of_words_are_no_words() -> None:
    for text in (
        "<|START_RESPONSE|>It is 20 degrees.<|END_RESPONSE|>",
        "<think>\nI look.\n</think>\n<answer>\nIt is 20 degrees.\n</answer>",
        "<response>\nIt is 20 degrees.\n</response>",
        "<|START_TEXT|>It is 20 degrees.",
    ):
        assert (parse(text).text, parse(text).calls) == ("It is 20 degrees.", ())
    call = '{"name": "ping", "parameters": {}}'
    spoken = parse(f"<|python_start|>I look.<|python_end|>{call}")
    assert (spoken.text, spoken.calls) == ("I look.", (ToolCall("ping", "{}"),))
    assert parse("Write <response> first.").text == "Write <response> first."


@pytest.mark.parametrize("text", [
    '<|tool_call_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>'
    '{"a": 1}<|tool_call_end|><|tool_call_section_end|>',  # Kimi K2, now and then
    '>>>all\nLet me look.>>>f\n{"a": 1}',  # functionary: words without a line's end
])
def test_spellings_that_models_slip_into(text):
    found = parse(text)
    assert [(c.name, c.args) for c in found.calls] == [("f", {"a": 1})], found


@pytest.mark.parametrize(("text", "thought", "rest"), [
    ("Write:\n```python\ntext.split('</think>')[1:]\n```", "", None),
    ("```html\n<think>a</think>\n```\nis a thought.", "", None),
    ("The `<think>` and `</think>` tags mark a thought.", "", None),
    ("<think>It ends in `</think>`, so.</think>Mild.", "It ends in `</think>`, so.", "Mild."),
    ("Say \"mild\"</think>Mild.", 'Say "mild"', "Mild."),
    ("In code ```x``` too</think>```y```", "In code ```x``` too", "```y```"),
])
def test_a_mark_that_is_only_named_ends_no_thought(text, thought, rest):
    assert split_thought(text)[:2] == (thought, text if rest is None else rest)
