"""An environment of tools, made of OpenEnv and FastMCP: `uvicorn stock_server:app`, in an
environment that has `openenv-core`. Its tasks are {held: {item: count}, wanted: {item: count}}."""

from fastmcp import FastMCP
from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.mcp_environment import MCPEnvironment
from openenv.core.env_server.mcp_types import CallToolAction, CallToolObservation
from openenv.core.env_server.types import Observation, State


class StockEnvironment(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self):
        stock = FastMCP("stock")

        @stock.tool()
        def count(item: str) -> int:
            "How many of an item are held."
            return self.held[item]

        @stock.tool()
        def add(item: str, number: int) -> str:
            "Put more of an item into the stock."
            self.held[item] = self.held.get(item, 0) + number
            return f"{self.held[item]} held"

        super().__init__(stock)

    def reset(self, seed=None, episode_id=None, held=None, wanted=None):
        self.held, self.wanted = dict(held or {}), wanted
        self.now = State(episode_id=episode_id, step_count=0)
        return Observation(done=False)

    def _step_impl(self, action, timeout_s=None, **more):
        raise ValueError("call a tool")

    async def step_async(self, action, timeout_s=None, **more):
        found = await super().step_async(action, timeout_s, **more)
        found.done = self.held == self.wanted  # before reset there is none: list_tools is refused
        found.reward = float(found.done)
        return found

    @property
    def state(self):
        return self.now


app = create_app(StockEnvironment, CallToolAction, CallToolObservation, max_concurrent_envs=2)
