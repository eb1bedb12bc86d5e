"""Chat templates of families that TRL does not ship, written by hand in the form that the family's
own documents and vLLM's parser of it describe.

mistral_v3   `[TOOL_CALLS] [{"name", "arguments", "id"}]`, ids of nine characters: mistral-common,
             tokenizer v3 (Mistral-7B-Instruct-v0.3)
mistral_v11  `[TOOL_CALLS]name[ARGS]{...}`: mistral-common, tokenizer v11 (Mistral-Small-3.2)
granite      `<|tool_call|>[{...}]`: Granite 3.1 prompt guide
granite4     `<tool_call>{...}</tool_call>`: Granite 4.0 prompt guide
phi4_mini    `<|tool_call|>[{...}]<|/tool_call|>`: Phi-4-mini-instruct's model card
deepseek_v3  a JSON fence between its own marks: DeepSeek-V3-0324's model card
deepseek_v31 name, mark, JSON: DeepSeek-V3.1's model card; arguments are JSON text
kimi_k2      `functions.name:0` and JSON between marks: Kimi-K2's tool guidance
pythonic     `[f(a=1), g()]`: Llama 4's prompt format
hunyuan_a13b `<tool_calls>[{...}]</tool_calls>`: Hunyuan-A13B's function calling guide
olmo3        `f(a=1)` on a line each between tags: OLMo 3's model card
xlam         `[{"name", "arguments"}]` and nothing else: xLAM-2's model card
command_r7b  `<|START_ACTION|>[{"tool_call_id", "tool_name", "parameters"}]`: Command R7B's tool use
             guide; it opens the next answer unasked, with a thought that is shut
seed_oss     Python's values between the tags of parameters: Seed-OSS-36B's model card
minimax_m2   the prompt opens a thought that a turn without one lacks: MiniMax-M2's tool guide
glm47        the same, but such a turn begins with the mark that shuts it: GLM-4.7's model card
nemotron2    the same, and it has no field for thoughts: Nemotron-Nano-9B-v2's model card
hermes_shut  the prompt holds a shut thought, the turn none, as with Gemma 4 and DeepSeek V3.2
apertus      `<|tools_prefix|>[{"f": {...}}]<|tools_suffix|>`: Apertus' format
minicpm5     `<function name="f"><param name="a">1</param></function>`: MiniCPM5's tool guide
gigachat3    `<|function_call|>{...}`, one per turn: GigaChat 3.1's model card
functionary  `<function=f>{...}</function>`: Llama 3.1's own functions, functionary v3.1
minicpm4     a Python fence between tags, words behind it: MiniCPM4's chat template
llama4       `{"name", "parameters"}` behind words between marks: Llama 4's chat template
apriel       its end stands twice: Apriel-1.5-15b-Thinker's chat template
apriel_think the prompt opens a thought in words that the turn lacks: Apriel-1.6-15b-Thinker's
calls_first  words follow their calls, as in Gemma 4, and a thought has no field
"""

LAST_USER = "{%- set last = messages | selectattr('role', 'equalto', 'user') | list | last -%}"
CALL_LIST = "{{ m.tool_calls | map(attribute='function') | list | tojson }}"

MISTRAL_V3 = LAST_USER + """{{ bos_token }}{% for m in messages %}
{%- if m.role == 'user' %}
{%- if m == last and tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{{- '[INST] ' + m.content + '[/INST]' }}
{%- elif m.tool_calls %}{{ '[TOOL_CALLS] [' }}{% for c in m.tool_calls %}
{%- if c.id | length != 9 %}{{ raise_exception('ids have nine characters') }}{% endif %}
{{- (c.function | tojson)[:-1] + ', "id": "' + c.id + '"}' + (', ' if not loop.last else '') }}
{%- endfor %}{{ ']' + eos_token }}
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS] {"content": ' + m.content + ', "call_id": "' }}
{{- m.tool_call_id + '"}[/TOOL_RESULTS]' }}
{%- elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}
{%- else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"""

MISTRAL_V11 = LAST_USER + """{{ bos_token }}{% for m in messages %}
{%- if m.role == 'system' %}{{ '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
{%- elif m.role == 'user' %}
{%- if m == last and tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{{- '[INST]' + m.content + '[/INST]' }}
{%- elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}
{%- else %}{{ m.content or '' }}{% for c in m.tool_calls or [] %}
{{- '[TOOL_CALLS]' + c.function.name + '[ARGS]' + (c.function.arguments | tojson) }}
{%- endfor %}{{ eos_token }}{% endif %}{% endfor %}"""


def by_role(start: str, end: str, calls: str, answer: str = "assistant") -> str:
    """A template of equal turns: `start` holds ROLE."""
    return (
        "{% if tools %}" + start.replace("ROLE", "tools") + "{{ tools | tojson }}" + end
        + "{% endif %}{% for m in messages %}" + start.replace("ROLE", "{{ m.role }}")
        + "{{ m.content or '' }}{% if m.tool_calls %}" + calls + "{% endif %}" + end
        + "{% endfor %}{% if add_generation_prompt %}" + start.replace("ROLE", answer)
        + "{% endif %}"
    )  # fmt: skip


ROLE_OF_GRANITE = "<|start_of_role|>ROLE<|end_of_role|>"
GRANITE = by_role(ROLE_OF_GRANITE, "<|end_of_text|>\n", "<|tool_call|>" + CALL_LIST)
GRANITE4 = by_role(
    ROLE_OF_GRANITE, "<|end_of_text|>\n",
    "{% for c in m.tool_calls %}<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}",
)  # fmt: skip
PHI4_MINI = by_role("<|ROLE|>", "<|end|>", "<|tool_call|>" + CALL_LIST + "<|/tool_call|>")
PYTHONIC = by_role(
    "<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>",
    "[{% for c in m.tool_calls %}{{ c.function.name }}("
    "{% for k, v in c.function.arguments | items %}{{ k }}={{ v | tojson }}"
    "{{ ', ' if not loop.last }}{% endfor %})"
    "{{ ', ' if not loop.last }}{% endfor %}]",
)  # fmt: skip
KIMI_K2 = by_role(
    "<|im_ROLE|>", "<|im_end|>",
    "<|tool_calls_section_begin|>{% for c in m.tool_calls %}<|tool_call_begin|>functions."
    "{{ c.function.name }}:{{ loop.index0 }}<|tool_call_argument_begin|>"
    "{{ c.function.arguments | tojson }}<|tool_call_end|>{% endfor %}<|tool_calls_section_end|>",
)  # fmt: skip

DEEPSEEK = """{{ bos_token }}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}
{%- if m.role == 'system' %}{{ m.content }}
{%- elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}
{%- elif m.role == 'tool' %}
{{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' }}
{%- else %}{{ '<｜Assistant｜>' }}{{ m.content or '' }}{% if m.tool_calls %}
{{- '<｜tool▁calls▁begin｜>' }}{% for c in m.tool_calls %}CALL{% endfor %}
{{- '<｜tool▁calls▁end｜>' }}{% endif %}{{ '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"""
DEEPSEEK_V3 = DEEPSEEK.replace(
    "CALL",
    "{{ '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + c.function.name + '\n```json\n' "
    "+ (c.function.arguments | tojson) + '\n```<｜tool▁call▁end｜>' }}",
)
DEEPSEEK_V31 = DEEPSEEK.replace(
    "CALL",
    "{{ '<｜tool▁call▁begin｜>' + c.function.name + '<｜tool▁sep｜>' + c.function.arguments "
    "+ '<｜tool▁call▁end｜>' }}",
)

EACH = "{% for c in m.tool_calls %}"
ARGUMENTS = "{% for k, v in c.function.arguments | items %}"
IM = ("<|im_start|>ROLE\n", "<|im_end|>\n")
HUNYUAN_A13B = by_role(
    "<|ROLE|>", "<|eos|>", "<tool_calls>" + CALL_LIST + "</tool_calls>",
).replace("{% if add_generation_prompt %}<|assistant|>{% endif %}", "").replace(
    "<|{{ m.role }}|>", "{{ '<|user|>' if m.role == 'user' }}"
)  # fmt: skip
OLMO3 = by_role(
    *IM, "<function_calls>\n" + EACH + "{{ c.function.name }}(" + ARGUMENTS + "{{ k }}="
    "{% if v is string %}'{{ v }}'{% else %}{{ v | tojson }}{% endif %}"
    "{{ ', ' if not loop.last }}{% endfor %})\n{% endfor %}</function_calls>",
)  # fmt: skip
SAYS, SAYS_ALONE = "{{ m.content or '' }}", "{{ m.content if not m.tool_calls }}"
XLAM = by_role(*IM, CALL_LIST).replace(SAYS, SAYS_ALONE)
TURN = "<|START_OF_TURN_TOKEN|><|ROLE|>"
SHUT = "<|START_THINKING|><|END_THINKING|>"
COMMAND_R7B = by_role(
    TURN, "<|END_OF_TURN_TOKEN|>", "<|START_ACTION|>[\n    " + EACH +
    '{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ c.function.name }}", "parameters": '
    "{{ c.function.arguments | tojson }}}{{ ',\n    ' if not loop.last }}{% endfor %}\n]"
    "<|END_ACTION|>",
).replace(SAYS, "{% if not m.tool_calls and m.role == 'assistant' %}<|START_RESPONSE|>"
    "{{ m.content }}<|END_RESPONSE|>{% else %}" + SAYS_ALONE + "{% endif %}"
).partition("{% if add_generation_prompt %}")[0]  # fmt: skip
COMMAND_R7B += TURN.replace("ROLE", "assistant") + SHUT
FUNCTION_TAGS = (
    EACH + "\n<function={{ c.function.name }}>\n" + ARGUMENTS
    + "<parameter={{ k }}>{{ v }}</parameter>\n{% endfor %}</function>\n{% endfor %}"
)  # fmt: skip
SEED_OSS = by_role(
    "<seed:bos>ROLE\n", "<seed:eos>", "<seed:tool_call>" + FUNCTION_TAGS + "</seed:tool_call>"
)
THINKS = "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
MINIMAX_M2 = by_role(
    "]~b]ROLE\n", "[e~[\n", "<minimax:tool_call>\n" + EACH +
    '<invoke name="{{ c.function.name }}">\n' + ARGUMENTS + '<parameter name="{{ k }}">'
    "{{ v if v is string else v | tojson }}</parameter>\n{% endfor %}</invoke>\n{% endfor %}"
    "</minimax:tool_call>", "ai",
).replace("]~b]ai\n", "]~b]ai\n<think>\n").replace(
    "{{ m.role }}", "{{ 'ai' if m.role == 'assistant' else m.role }}"
).replace(SAYS, THINKS + SAYS)  # fmt: skip
GLM47 = by_role(
    "<|ROLE|>", "", EACH + "<tool_call>{{ c.function.name }}" + ARGUMENTS + "<arg_key>{{ k }}"
    "</arg_key><arg_value>{{ v if v is string else v | tojson }}</arg_value>{% endfor %}"
    "</tool_call>{% endfor %}", "assistant|><think",
).replace("<|assistant|><think|>", "<|assistant|><think>").replace("<|{{ m.role }}|>" + SAYS,
    "{% if m.role == 'assistant' %}<|assistant|>{% if m.reasoning_content %}<think>"
    "{{ m.reasoning_content }}{% endif %}</think>{% elif m.role == 'tool' %}<|observation|>"
    "{% else %}<|user|>{% endif %}" + SAYS
)  # fmt: skip
NEMOTRON2 = by_role(
    "<SPECIAL_11>ROLE\n", "<SPECIAL_12>\n", "<TOOLCALL>" + CALL_LIST + "</TOOLCALL>"
).replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
HERMES_SHUT = by_role(
    *IM, EACH + "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
).replace("assistant\n{% endif %}", "assistant\n<think>\n\n</think>\n\n{% endif %}")
APERTUS = by_role(
    "<|ROLE_start|>", "<|assistant_end|>", "<|tools_prefix|>[" + EACH + '{"{{ c.function.name }}": '
    "{{ c.function.arguments | tojson }}}{{ ', ' if not loop.last }}{% endfor %}]<|tools_suffix|>",
)  # fmt: skip
MINICPM5 = by_role(
    *IM, EACH + '<function name="{{ c.function.name }}">' + ARGUMENTS + '<param name="{{ k }}">'
    "{% if v is string and '<' in v %}<![CDATA[{{ v }}]]>{% else %}{{ v }}{% endif %}</param>"
    "{% endfor %}</function>{% endfor %}",
)  # fmt: skip
GIGACHAT3 = by_role(
    "ROLE<|role_sep|>\n", "<|message_sep|>\n\n",
    "<|function_call|>{{ m.tool_calls[0].function | tojson }}",
)  # fmt: skip
FUNCTIONARY = by_role(
    "<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>",
    EACH + "<function={{ c.function.name }}>{{ c.function.arguments | tojson }}</function>"
    "{% endfor %}",
)  # fmt: skip
LLAMA4 = by_role(
    "<|header_start|>ROLE<|header_end|>\n\n", "<|eot|>",
    EACH + '{"name": "{{ c.function.name }}", "parameters": {{ c.function.arguments | tojson }}}'
    "{% endfor %}",
).replace(
    SAYS, "{% if m.tool_calls %}<|python_start|>{{ m.content }}<|python_end|>{% else %}"
    "{{ m.content }}{% endif %}",
)  # fmt: skip
APRIEL = by_role(
    "<|ROLE|>\n", "\n<|end|>\n<|end|>", "\n<tool_calls>" + CALL_LIST + "</tool_calls>"
)
STEPS = "Here are my reasoning steps:\n"
APRIEL_THINK = by_role(
    "<|ROLE|>\n", "\n<|end|>\n", "\n<tool_calls>" + CALL_LIST + "</tool_calls>"
).replace("<|assistant|>\n{% endif %}", "<|assistant|>\n" + STEPS + "{% endif %}").replace(
    SAYS, "{% if m.reasoning_content and loop.last %}{{ m.reasoning_content }}\n"
    "[BEGIN FINAL RESPONSE]\n{% endif %}" + SAYS
)  # fmt: skip
CALLS_FIRST = by_role(
    *IM, EACH + "<tool_call>\n{{ c.function | tojson }}\n</tool_call>{% endfor %}"
    "{{ m.content or '' }}",
).replace(SAYS, SAYS_ALONE, 1)  # fmt: skip
THOUGHT = "{% if m.thought %}<|thought_start|>\n{{ m.thought }}\n<|thought_end|>\n{% endif %}"
MINICPM4 = by_role(
    *IM, "<|tool_call_start|>\n```python\n" + EACH + "{{ c.function.name }}(" + ARGUMENTS
    + "{{ k }}={{ v | tojson }}{{ ',' if not loop.last }}{% endfor %})\n{% endfor %}```\n"
    "<|tool_call_end|>\n{{ m.content }}",
).replace(SAYS, THOUGHT + SAYS_ALONE, 1)  # fmt: skip
# a dialect that nothing reads
UNKNOWN = by_role(
    *IM, EACH + "@{{ c.function.name }} with {{ c.function.arguments | tojson }};{% endfor %}"
)

WRITTEN = {
    "mistral_v3": MISTRAL_V3, "mistral_v11": MISTRAL_V11, "granite": GRANITE, "granite4": GRANITE4,
    "phi4_mini": PHI4_MINI, "deepseek_v3": DEEPSEEK_V3, "deepseek_v31": DEEPSEEK_V31,
    "kimi_k2": KIMI_K2, "pythonic": PYTHONIC, "hunyuan_a13b": HUNYUAN_A13B, "olmo3": OLMO3,
    "xlam": XLAM, "command_r7b": COMMAND_R7B, "seed_oss": SEED_OSS, "minimax_m2": MINIMAX_M2,
    "glm47": GLM47, "nemotron2": NEMOTRON2, "hermes_shut": HERMES_SHUT, "apertus": APERTUS,
    "minicpm5": MINICPM5, "gigachat3": GIGACHAT3, "functionary": FUNCTIONARY,
    "minicpm4": MINICPM4, "llama4": LLAMA4, "apriel": APRIEL, "apriel_think": APRIEL_THINK,
    "calls_first": CALLS_FIRST,
}  # fmt: skip
