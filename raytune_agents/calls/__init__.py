"""Tool calls: read them in every dialect, check them against the schema, compare them with gold.

`parse` text -> calls and back; `schema` the tool's parameters; `gold` what is right; `match` BFCL's
comparison; `fault` the name of what is wrong. All pure.
"""

from raytune_agents.calls.fault import fault_of
from raytune_agents.calls.gold import gold_of
from raytune_agents.calls.match import Verdict, compare, judge
from raytune_agents.calls.parse import Parsed, parse, render_call, render_calls, turn_of
from raytune_agents.calls.schema import schema_errors
