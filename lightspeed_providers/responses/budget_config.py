"""How much a turn may use: the `budget` part of a profile."""

from pydantic import BaseModel, ConfigDict, Field


class BudgetConfig(BaseModel):
    """How much a turn may use; a request may ask for less, never for more."""

    model_config = ConfigDict(extra="forbid")

    max_infer_iters: int | None = Field(
        default=None, ge=1, description="At most so many calls of the model in a turn."
    )
    max_tool_calls: int | None = Field(
        default=None, ge=1, description="At most so many calls of the server's tools in a turn."
    )
    context_tokens: int | None = Field(
        default=None,
        ge=256,
        description="How many tokens the model reads, its answer included. Where it is known, "
        "passages that don't fit are left out before the model is asked; where it is not, when "
        "the model says that the request is too long.",
    )
