"""A small real MCP server on loopback, with one tool that answers and one that fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from mcp.server.fastmcp import FastMCP


@contextmanager
def weather_server() -> Iterator[str]:
    """Yield the address of the server while it runs."""
    tools = FastMCP("weather")

    @tools.tool()
    def weather_at(city: str) -> str:
        """Tell the weather of a city."""
        return f"It rains in {city}."

    @tools.tool()
    def storms_at(city: str) -> str:
        """Tell the storms of a city."""
        raise ValueError(f"No storms are known in {city}.")

    server = uvicorn.Server(
        uvicorn.Config(tools.streamable_http_app(), port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
