"""What vLLM calls the parsers of the families whose calls `dialects` and `parse` read."""

from __future__ import annotations

# How a call looks in an answer -> the name that `vllm serve --tool-call-parser` knows its family
# by (vllm 0.32, vllm/tool_parsers/__init__.py; "" where it has none); the first that fits.
PARSERS: tuple[tuple[str, str], ...] = (
    ("to=functions.", "openai"),
    ("<atem:invoke", "muse_glimmer"),
    ("<seed:tool_call>", "seed_oss"),
    ("<minimax:tool_call>", "minimax_m2"),
    ("<｜DSML｜function_calls>", "deepseek_v32"),
    ("<｜DSML｜tool_calls>", "deepseek_v4"),
    ("<function=probe_tool>{", ""),  # Llama 3.1's own functions, functionary
    ("<function=", "qwen3_coder"),
    ("<function name=", "minicpm5"),
    ("<tool_calls:", "hy_v3"),
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
    "cohere_command3": "cohere_command3",
}
# fmt: on
