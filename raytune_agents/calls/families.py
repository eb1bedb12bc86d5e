"""The families whose calls `dialects` and `parse` read: their tags, and what vLLM calls their
parsers."""

from __future__ import annotations

# the tags that calls stand between, by family; ours and Hermes' come first
TAGS = {
    "<tool_call>": "</tool_call>",
    "<toolcall>": "</toolcall>",
    "<tool_calls>": "</tool_calls>",  # Jamba, Hunyuan
    "<function_call>": "</function_call>",
    "<function_calls>": "</function_calls>",  # Granite, OLMo
    "<longcat_tool_call>": "</longcat_tool_call>",
    "<minimax:tool_call>": "</minimax:tool_call>",
    "<seed:tool_call>": "</seed:tool_call>",
    "<atem:function_calls>": "</atem:function_calls>",
    "<｜DSML｜function_calls>": "</｜DSML｜function_calls>",
    "<｜DSML｜tool_calls>": "</｜DSML｜tool_calls>",
    "<｜DSML｜ calls>": "</｜DSML｜ calls>",  # DeepSeek V4.1
    "<dots_function_call>": "</dots_function_call>",
    "<ifm|tool_calls>": "</ifm|tool_calls>",  # K2 Horizon
    "<ifm|tool_call>": "</ifm|tool_call>",
    "<|open|>tools<|sep|>": "<|close|>tools<|sep|>",  # Kimi K3
    "<|plamo:begin_tool_requests:plamo|>": "<|plamo:end_tool_requests:plamo|>",
    "<|tool_call|>": "<|/tool_call|>",  # Granite 3 (without an end), Phi-4-mini
    "<|tool_call>": "<tool_call|>",
    "<start_function_call>": "<end_function_call>",  # Gemma
    "<|tool_call_start|>": "<|tool_call_end|>",  # LFM2
    "<｜tool▁calls▁begin｜>": "<｜tool▁calls▁end｜>",
    "<|tool_calls_section_begin|>": "<|tool_calls_section_end|>",
    "<|action_start|><|plugin|>": "<|action_end|>",  # InternLM
    "<|python_start|>": "<|python_end|>",  # Llama 4
    "-> tool/function_call\n": "",  # HyperCLOVA X
    "<|START_ACTION|>": "<|END_ACTION|>",  # Command
    "<｜tool_calls_begin｜>": "<｜tool_calls_end｜>",  # Step 3
    "<｜tool_call_begin｜>function<｜tool_sep｜>": "<｜tool_call_end｜>",
    "<|tools_prefix|>": "<|tools_suffix|>",
    "<|tool_calls|>": "",  # Apertus, Solar
    "<|function_call|>": "",
    "function call<|role_sep|>": "",  # GigaChat
    "[TOOL_CALLS]": "",
    "functools[": "",  # Mistral, Phi-4-mini: without an end
}
# How a call looks in an answer -> the name that `vllm serve --tool-call-parser` knows its family
# by (vllm 0.32, vllm/tool_parsers/__init__.py; "" where it has none); the first that fits.
PARSERS: tuple[tuple[str, str], ...] = (
    ("to=functions.", "openai"),
    ("<atem:invoke", "muse_glimmer"),
    ("<seed:tool_call>", "seed_oss"),
    ("<minimax:tool_call>", "minimax_m2"),
    ("<｜DSML｜function_calls>", "deepseek_v32"),
    ("<｜DSML｜tool_calls>", "deepseek_v4"),
    ("<｜DSML｜ calls>", "deepseek_v41"),
    ("<dots_function_call>", "dots"),
    ("<ifm|tool_call", "k2_horizon"),
    ("<|open|>tools<|sep|>", "kimi_k3"),
    ("<|plamo:begin_tool_request", "plamo3"),
    ("<steptml:invoke", "step3"),
    ("<function=probe_tool>{", ""),  # Llama 3.1's own functions, functionary
    ("<function=", "qwen3_coder"),
    ("<function name=", "minicpm5"),
    ("<tool_calls:opensource>", "hy_v3"),
    ("<tool_calls:", "hy_v4"),
    ("<|tools_prefix|>", "apertus"),
    ("<|function_call|>", "gigachat3"),
    ("function call<|role_sep|>", "gigachat3"),
    ("<arg_key>", "glm45"),
    ("<|tool_call>call:", "gemma4"),
    ("<start_function_call>call:", "functiongemma"),
    ("<|tool_call_start|>\n```", ""),  # MiniCPM 3 and 4
    ("<|tool_call_start|>", "lfm2"),
    ("<｜tool▁sep｜>probe_tool\n```json", "deepseek_v3"),
    ("<｜tool▁calls▁begin｜>", "deepseek_v31"),
    ("<|tool_calls_section_begin|>", "kimi_k2"),
    ("[TOOL_CALLS]", "mistral"),
    ("functools[", "phi4_mini_json"),
    ("<|tool_call|>", "granite"),  # and Phi-4-mini's own form, which phi4_mini_json does not read
    ("<tool_call>[", "granite"),
    ("<function_call>", "granite-20b-fc"),
    ("<function_calls>", "olmo3"),
    ("<tool_calls>[{", "hunyuan_a13b"),
    ("<tool_calls>\n{", ""),  # MiniMax M1
    ("<tool_calls>", "jamba"),
    ("<longcat_tool_call>", "longcat"),
    ("<|action_start|>", "internlm"),
    ("<|python_end|>", "llama4_json"),
    ("-> tool/function_call", ""),  # HyperCLOVA X
    ("<|START_ACTION|>", "cohere_command3"),
    ("<tool_call>", "hermes"),
    ("<TOOLCALL>", ""),  # Nemotron Nano 2
    ("<|tool_calls|>", ""),  # Solar
    ('"parameters":', "llama3_json"),
    ('[{"name"', "xlam"),
    ("probe_tool(", "pythonic"),
)
# tool parser -> the name of `--reasoning-parser` for the thoughts of its family
# fmt: off
REASONING = {
    "hermes": "qwen3", "qwen3_coder": "qwen3", "gemma4": "gemma4", "glm45": "glm45",
    "openai": "openai_gptoss", "muse_glimmer": "muse_glimmer", "seed_oss": "seed_oss",
    "minimax_m2": "minimax_m2", "deepseek_v31": "deepseek_v3", "deepseek_v4": "deepseek_v4",
    "kimi_k2": "kimi_k2", "mistral": "mistral", "granite": "granite", "olmo3": "olmo3",
    "cohere_command3": "cohere_command3", "deepseek_v41": "deepseek_v41", "hy_v3": "hy_v3",
    "hy_v4": "hy_v4", "k2_horizon": "k2_horizon", "kimi_k3": "kimi_k3", "plamo3": "plamo3",
    "step3": "step3",
}
# fmt: on
