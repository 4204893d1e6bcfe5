"""Every route of the server answers errors in the OpenAI shape, and logs no stack trace for them.

Llama Stack builds its routes from a register of factories after it has asked for our providers;
each factory's routes get a class of ours that answers errors.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from llama_stack.core.exceptions import translate_exception
from llama_stack.core.server import fastapi_router_registry
from llama_stack.log import get_logger

from lightspeed_providers.core.error_route import (
    Fault,
    answering,
    explain_status_code,
    untranslated,
)
from lightspeed_providers.responses.faults import as_error, is_upstream

logger = get_logger(name=__name__, category="server")

Factory = Callable[[Any], APIRouter]  # Any: the implementation of whatever API it is


def answer_errors_in_openai_shape() -> None:
    """Wrap the host's router factories, once."""
    factories = fastapi_router_registry._ROUTER_FACTORIES
    for api, factory in factories.items():
        if not getattr(factory, "answers_errors", False):
            factories[api] = _answering(factory)


def _answering(factory: Factory) -> Factory:
    @wraps(factory)
    def create_router(impl: Any) -> APIRouter:
        router = factory(impl)
        for route in router.routes:
            if isinstance(route, APIRoute):
                # The server builds each route anew, from its class.
                route.__class__ = answering(type(route), invalid_body=400, explain=_explain)
        return router

    create_router.answers_errors = True  # type: ignore[attr-defined]  # a mark on a function
    return create_router


def _explain(fault: Exception) -> Fault:
    if is_upstream(untranslated(fault)):  # what an upstream says may hold what users said
        fault = as_error(untranslated(fault), None)
    known = explain_status_code(fault)
    if known is not None:
        return known
    translated = translate_exception(fault)
    if translated.status_code >= 500:
        logger.error("Request failed", fault=type(fault).__name__, status=translated.status_code)
    return Fault(translated.status_code, str(translated.detail))
