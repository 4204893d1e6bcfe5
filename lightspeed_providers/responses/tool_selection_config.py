"""Which of many tools the model is offered: the `tool_selection` part of a profile."""

from pydantic import BaseModel, ConfigDict, Field


class ToolSelectionConfig(BaseModel):
    """With many tools, only those that have to do with the question are offered to the model."""

    model_config = ConfigDict(extra="forbid")

    above: int | None = Field(
        default=None,
        ge=2,
        description="With more tools than this, the relevant ones are chosen; never if left out.",
    )
    keep: int = Field(default=15, ge=1, description="How many are offered then.")
    certain: float = Field(
        default=0.3,
        ge=-1,
        le=1,
        description="Where no tool's likeness to the question (cosine) reaches this, all are "
        "offered.",
    )
    always: tuple[str, ...] = Field(default=(), description="Tools that are offered in any case.")
    embedding_model: str = Field(
        default="lightspeed-embeddings/sentence-transformers/all-MiniLM-L6-v2",
        description="Model, as `provider/model`, that tells which tools are near the question.",
    )
