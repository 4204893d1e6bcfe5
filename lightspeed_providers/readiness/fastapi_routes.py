"""The routes that load balancers ask, without authentication."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from llama_stack_api.router_utils import PUBLIC_ROUTE_KEY

from lightspeed_providers.core.start_checks import running

from .api import LivenessStatus, Readiness, ReadinessStatus


def create_router(impl: Readiness) -> APIRouter:
    """A router over the implementation; Llama Stack also calls this without one, to list routes."""
    # Every provider of this server is built by now, and none of another one in this process.
    checks = impl.start_checks if impl else []

    @asynccontextmanager
    async def checked_at_start(_: FastAPI) -> AsyncIterator[None]:
        """Runs in the loop that serves, unlike what builds the providers."""
        async with running(checks):
            yield

    router = APIRouter(tags=["Readiness"], lifespan=checked_at_start)
    public = {PUBLIC_ROUTE_KEY: True}

    @router.get(
        "/readiness",
        response_model=ReadinessStatus,
        responses={503: {"model": ReadinessStatus}},
        openapi_extra=public,
        summary="Whether a first answer would succeed.",
    )
    async def readiness() -> JSONResponse:
        """200 where every part is loaded, 503 with what is missing where not."""
        status = await impl.readiness()
        return JSONResponse(status.model_dump(), status_code=200 if status.ready else 503)

    @router.get("/liveness", openapi_extra=public, summary="That the process answers.")
    async def liveness() -> LivenessStatus:
        """Always alive."""
        return await impl.liveness()

    return router
