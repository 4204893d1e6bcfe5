"""Where this product answers otherwise than the stock provider on purpose, test by test."""

_STATUS = "a fault before the first event is an HTTP status, not `response.failed` in a 200"
_DELTA = (
    "arguments of the server's own tools are no `function_call_arguments`: MCP calls have "
    "`mcp_call_arguments`, searches none, as OpenAI's have"
)

_SHAPE = (
    "routes answer errors in OpenAI's shape, and bad bodies with 400, by themselves; the stock "
    "ones in a whole server only, and this test has a bare application"
)

_ON_PURPOSE = {
    "test_responses_router::": _SHAPE,
    "incomplete_details_length": "the reason is OpenAI's `max_output_tokens`, not `length`",
    "streaming_failed_error_code": _STATUS,
    "streaming_invalid_base64_image_failure_code": _STATUS,
    "service_tier_flex_streaming": _STATUS,
    "streaming_multi_turn_tool_execution": _DELTA,
    "streaming_web_search": _DELTA,
    "test_response_mcp_tool_approval": (
        "text that the model said before it asked for approval is kept, and stands first"
    ),
}


def why(test: str) -> str | None:
    """Return why a test of upstream's fails here and not on the stock provider, if we chose so."""
    return next((reason for name, reason in _ON_PURPOSE.items() if name in test), None)
