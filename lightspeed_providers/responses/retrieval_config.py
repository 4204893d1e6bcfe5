"""How documentation reaches the model: the `retrieval` part of a profile."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class RetrievalConfig(BaseModel):
    """How documentation reaches the model."""

    model_config = ConfigDict(extra="forbid")

    mode: Literal["always", "tool", "off"] = Field(
        default="always",
        description="`always` searches before the model is asked; `tool` lets the model search "
        "when it wants to; `off` never searches.",
    )
    tool: str = Field(default="search_product_docs", description="The tool that searches.")
    max_passages: int = Field(
        default=4, ge=1, le=50, description="At most this many passages go to the model at a time."
    )
    max_tokens: int | None = Field(
        default=None,
        ge=50,
        description="At most about this many tokens of passages go to the model at a time; the "
        "weakest are left out. No bound where left out.",
    )
    product: str | None = Field(
        default=None, description="Only documentation of this product; all where left out."
    )
    version: str | None = Field(
        default=None,
        description="Only documentation of this version, `latest` or `all`; where left out, the "
        "question decides, else the search's own default.",
    )
    language: str | None = Field(
        default=None, description="Only documentation in this language; all where left out."
    )
    filters: dict[str, str | list[str]] = Field(
        default_factory=dict, description="Only pages with these attributes."
    )

    def arguments(self, question: str) -> dict[str, Any]:
        """Return what the search tool is called with for a question."""
        limits = {
            "product": self.product,
            "version": self.version,
            "language": self.language,
            "filters": self.filters or None,
        }
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return {"query": question, "max_results": self.max_passages, **given}
