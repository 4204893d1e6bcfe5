"""Events that the host has no class for, or one that lacks what OpenAI's has."""

from typing import Literal

from llama_stack_api import OpenAIResponseObjectStreamResponseOutputTextDone, OpenAITokenLogProb
from pydantic import BaseModel, Field


class OutputTextDone(OpenAIResponseObjectStreamResponseOutputTextDone):
    """The end of a text, with the log probabilities that OpenAI's clients ask for."""

    logprobs: list[OpenAITokenLogProb] = Field(default_factory=list)


class ItemEvent(BaseModel):
    """An event about one item of the output."""

    item_id: str
    output_index: int
    sequence_number: int


class McpListToolsInProgress(ItemEvent):
    """The tools of an MCP server are being listed."""

    type: Literal["response.mcp_list_tools.in_progress"] = "response.mcp_list_tools.in_progress"


class McpListToolsCompleted(ItemEvent):
    """The tools of an MCP server have been listed."""

    type: Literal["response.mcp_list_tools.completed"] = "response.mcp_list_tools.completed"


class McpArgumentsDelta(ItemEvent):
    """Arguments of a call of an MCP tool, under OpenAI's name; the host's is another."""

    delta: str
    type: Literal["response.mcp_call_arguments.delta"] = "response.mcp_call_arguments.delta"


class McpArgumentsDone(ItemEvent):
    """All arguments of a call of an MCP tool, under OpenAI's name."""

    arguments: str
    type: Literal["response.mcp_call_arguments.done"] = "response.mcp_call_arguments.done"


class McpCallCompleted(ItemEvent):
    """An MCP tool has answered."""

    type: Literal["response.mcp_call.completed"] = "response.mcp_call.completed"


class McpCallFailed(ItemEvent):
    """An MCP tool has failed."""

    type: Literal["response.mcp_call.failed"] = "response.mcp_call.failed"
