"""OpenEnv's own clients at the server whose URL is given; prints what they saw, as one JSON line.
The steps come as JSON: [[tool, arguments], ...]."""

import asyncio
import json
import sys

from openenv.core.env_server.mcp_types import CallToolAction
from openenv.core.generic_client import GenericEnvClient
from openenv.core.mcp_client import MCPToolClient


async def play(url, steps):
    async with MCPToolClient(base_url=url) as client:
        tools = [tool.name for tool in await client.list_tools()]
        await client.reset(seed=0)
        results = [
            await client.step(CallToolAction(tool_name=name, arguments=arguments))
            for name, arguments in steps
        ]
    async with GenericEnvClient(base_url=url) as client:
        first = await client.reset(seed=0)
    ends = [[r.reward, r.done] for r in results]
    seen = [r.observation.result for r in results]
    return {"tools": tools, "request": first.observation["request"], "ends": ends, "seen": seen}


print(json.dumps(asyncio.run(play(sys.argv[1], json.loads(sys.argv[2])))))
