"""An MCP server that asks for a key, made of FastMCP: `python locked_server.py PORT KEY`."""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.server.dependencies import get_http_headers

port, key = sys.argv[1:]
verifier = StaticTokenVerifier({key: {"client_id": "tests", "scopes": []}})
shop = FastMCP("locked shop", auth=verifier)


@shop.tool()
def price(item: str) -> str:
    "The price of an item."
    return f"{item}: 2.5, for {get_http_headers(include_all=True)['authorization']}"


shop.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False)
