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

WRITTEN = {
    "mistral_v3": MISTRAL_V3, "mistral_v11": MISTRAL_V11, "granite": GRANITE, "granite4": GRANITE4,
    "phi4_mini": PHI4_MINI, "deepseek_v3": DEEPSEEK_V3, "deepseek_v31": DEEPSEEK_V31,
    "kimi_k2": KIMI_K2, "pythonic": PYTHONIC,
}  # fmt: skip
