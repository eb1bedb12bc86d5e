"""What sources call the same thing, the usual name first; case, `_` and `-` do not count."""

from __future__ import annotations

from raytune_agents.readers.fields import Names

# --- a turn ---
ROLE = Names("role from speaker author sender")
CONTENT = Names("content value text message utterance parts blocks items")
THOUGHT = Names(
    "reasoning_content reasoning thought thinking think thoughts reasoning_text rationale "
    "scratchpad tool_plan cot chain_of_thought reasoning_summary thinking_content thought_process "
    "inner_monologue inner_thoughts analysis"
)
CALLS = Names(
    "tool_calls function_calls function_call tool_call calls tool_uses toolInvocations "
    "invocations tool_requests tool_call_requests api_calls actions"
)
TURN_ID = Names("tool_call_id tool_use_id call_id tool_call_ids")
TURN_NAME = Names("name tool_name function_name")
LOSS = Names(
    "loss weight loss_weight train training trainable loss_mask train_on_turn compute_loss "
    "trained is_trained include_in_loss learn enable_loss supervise supervised loss_scale "
    "loss_weights train_loss"
)
MASKED = Names("masked is_masked no_loss ignore_loss exclude_from_loss no_train ignore skip")

# --- a call ---
CALL_NAME = Names(
    "name tool_name tool function_name function api_name api action recipient_name method"
)
ARGUMENTS = Names(
    "arguments args parameters input params kwargs tool_input action_input tool_args tool_kwargs "
    "arguments_json raw_arguments argument param payload function_arguments function_args "
    "tool_arguments tool_parameters parameter_values"
)
CALL_ID = Names("call_id tool_call_id tool_use_id id tool_id")

# --- a result ---
RESULT = Names(
    "content output result response value text outputs observation structured_content results "
    "tool_output tool_result"
)

# --- a tool ---
TOOL_NAME = Names("name tool_name function_name api_name name_for_model")
DESCRIPTION = Names(
    "description desc summary api_description doc docstring tool_description function_description "
    "description_for_model title"
)
PARAMETERS = Names(
    "parameters input_schema args_schema parameters_json_schema json_schema schema arguments args "
    "params inputs input parameter_definitions parameters_schema request_schema"
)

# --- a row ---
TURNS = Names("messages conversations conversation dialogue dialog chat_history chat")
TOOLS = Names(
    "tools functions available_tools tool_list tool_schemas tool_specs function_definitions "
    "api_list available_functions tool_config tool_definitions function_list function_schemas"
)
SYSTEM = Names(
    "system system_prompt system_message system_instruction preamble system_text instructions "
    "developer developer_message system_instructions system_content sys_prompt developer_prompt "
    "agent_instructions"
)
ROW_ID = Names(
    "id uuid instance_id item_id _id row_id example_id sample_id conversation_id dialogue_id "
    "trajectory_id"
)
