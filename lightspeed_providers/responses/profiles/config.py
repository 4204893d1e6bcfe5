"""The fields of a profile."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lightspeed_providers.core.verdicts import Direction, Release
from lightspeed_providers.responses.budget_config import BudgetConfig
from lightspeed_providers.responses.deadlines import DeadlinesConfig
from lightspeed_providers.responses.profiles.locales import normal_locale
from lightspeed_providers.responses.profiles.templates import OF_REQUEST
from lightspeed_providers.responses.prompts import ClientPolicy
from lightspeed_providers.responses.retrieval_config import RetrievalConfig
from lightspeed_providers.responses.titles_config import TitlesConfig
from lightspeed_providers.responses.tool_selection_config import ToolSelectionConfig

ANY_SHIELD = "*"


def _locale(tag: str) -> str:
    normal = normal_locale(tag)
    if normal is None:
        raise ValueError(f"'{tag}' is no locale: write one like `en` or `pt-BR`")
    return normal


def _variable(name: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        raise ValueError(f"'{name}' is no variable's name: use small letters, digits and _")
    if name in OF_REQUEST:
        raise ValueError(f"'{name}' comes with each request: choose another name")
    return name


class ProfileShieldsConfig(BaseModel):
    """Which shields run where, in this order; a direction that is left out goes by their names."""

    model_config = ConfigDict(extra="forbid")

    input: tuple[str, ...] | None = Field(
        default=None, description="Ids of the shields that screen what users write."
    )
    output: tuple[str, ...] | None = Field(
        default=None, description="Ids of the shields that screen what the model says."
    )
    tool: tuple[str, ...] | None = Field(
        default=None,
        description="Ids of the shields that screen tool results and retrieved passages.",
    )

    def by_direction(self) -> dict[Direction, tuple[str, ...]]:
        """Return the named shields of the directions that name some."""
        listed = {
            Direction.INPUT: self.input,
            Direction.OUTPUT: self.output,
            Direction.TOOL: self.tool,
        }
        return {direction: names for direction, names in listed.items() if names is not None}


class SamplingConfig(BaseModel):
    """How the model picks its words where the request does not say."""

    model_config = ConfigDict(extra="forbid")

    temperature: float | None = Field(default=None, ge=0, le=2, description="As in the request.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="As in the request.")
    max_output_tokens: int | None = Field(default=None, ge=16, description="As in the request.")
    frequency_penalty: float | None = Field(
        default=None, ge=-2, le=2, description="As in the request."
    )
    presence_penalty: float | None = Field(
        default=None, ge=-2, le=2, description="As in the request."
    )


class ProfileConfig(BaseModel):
    """What makes an assistant this product's assistant."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="default", min_length=1, description="Name by which it is chosen.")
    system_prompt: str | None = Field(
        default=None,
        min_length=1,
        description="What the model is told first: a Jinja template with the `variables`, `date` "
        "and `locale`.",
    )
    system_prompt_file: Path | None = Field(
        default=None,
        description="File with the same instead; a relative path starts at the profile's file.",
    )
    variables: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict,
        description="What stands in the prompt for a name, as in `{{ product }}`.",
    )
    locale: Annotated[str, AfterValidator(_locale)] = Field(
        default="en", description="The `locale` of a prompt where `metadata.locale` names none."
    )
    client_prompt: ClientPolicy = Field(
        default="replace",
        description="What becomes of a client's own prompt (`instructions`, `prompt`): `replace` "
        "lets it take the place of this one, `append` puts it after this one, `ignore` drops it, "
        "and system messages in `input` too.",
    )
    selectable: bool = Field(
        default=True, description="Whether a request may choose it by `metadata.profile`."
    )
    locked: tuple[str, ...] = Field(
        default=(),
        description="Fields of a request that clients may not set, as `temperature` or `tools`.",
    )
    refusals: dict[str, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict,
        description="What a blocked turn is answered with, by shield; `*` stands for every other.",
    )
    model: str | None = Field(
        default=None,
        description="Model, as `provider/model`, that answers where a request asks for the alias.",
    )
    sampling: SamplingConfig = Field(
        default_factory=SamplingConfig, description="Sampling where the request does not say."
    )
    retrieval: RetrievalConfig = Field(
        default_factory=RetrievalConfig, description="How documentation reaches the model."
    )
    budget: BudgetConfig = Field(
        default_factory=BudgetConfig, description="How much a turn may use."
    )
    tool_selection: ToolSelectionConfig = Field(
        default_factory=ToolSelectionConfig, description="Which of many tools the model is offered."
    )
    shields: ProfileShieldsConfig = Field(
        default_factory=ProfileShieldsConfig,
        description="Which shields run where; by their names where left out.",
    )
    guardrails: Literal["add", "replace"] = Field(
        default="add",
        description="Whether shields in a request's `guardrails` run beside the profile's or in "
        "place of those that block; what rewrites stays, and an empty list changes nothing.",
    )
    release: Release = Field(
        default=Release.HOLD,
        description="`hold` lets text leave once every output shield has cleared it. "
        "`stream_first` lets it leave when patterns, redaction and prompt leak have, and ends the "
        "stream when a slower shield blocks: up to `checkpoint_chars` and the time of a check of "
        "blocked text have been read by then.",
    )
    deadlines: DeadlinesConfig = Field(
        default_factory=DeadlinesConfig, description="How long each phase of a turn may take."
    )
    titles: TitlesConfig = Field(
        default_factory=TitlesConfig, description="Titles of new conversations."
    )

    def refusal_of(self, shield: str) -> str | None:
        """Return what a turn that this shield blocks is answered with, if the profile says."""
        return self.refusals.get(shield) or self.refusals.get(ANY_SHIELD)
