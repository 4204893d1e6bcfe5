"""Settings of the shields provider."""

from typing import TYPE_CHECKING, Annotated, Any, Self, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.safety.demo.policy import DEMO_SHIELDS
from lightspeed_providers.safety.shields import SHIELDS
from lightspeed_providers.safety.shields.base import ShieldOptions

if TYPE_CHECKING:
    type ShieldConfig = ShieldOptions
else:
    ShieldConfig = Annotated[Union[tuple(SHIELDS.values())], Field(discriminator="kind")]  # noqa: UP007


class LightspeedShieldsConfig(BaseModel):
    """Which shields there are; a shield's name says which texts it screens."""

    model_config = ConfigDict(extra="forbid")

    composite_id: str = Field(
        default="lightspeed",
        min_length=1,
        description="Id of the shield that stands for all of them: it runs those that watch the "
        "direction of the text.",
    )
    shields: dict[str, ShieldConfig] = Field(
        default_factory=dict,
        description="Shields by id, in the order in which they run. A name that begins with "
        "input_, output_, inout_ (both) or tool_ (tool results and retrieved passages) says what "
        "the shield screens; any other name means input.",
    )

    @model_validator(mode="wrap")
    @classmethod
    def _fails_in_one_line(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Say what is wrong in a line that shows no pattern of another shield."""
        try:
            config = handler(data)
        except ValidationError as fault:
            raise ConfigurationError(_in_one_line(fault)) from None
        if config.composite_id in config.shields:
            raise ConfigurationError(
                f"Shield '{config.composite_id}' has the name of the composite shield: "
                "rename it, or set `composite_id` to another name."
            )
        return config

    @classmethod
    def sample_run_config(cls, __distro_dir__: str = "", **kwargs: Any) -> dict[str, Any]:
        """Return the demo product's shields."""
        return {"composite_id": "lightspeed", "shields": DEMO_SHIELDS}


def _in_one_line(fault: ValidationError) -> str:
    faults = [
        f"{'.'.join(str(part) for part in error['loc']) or 'shields'}: {error['msg']}"
        for error in fault.errors(include_url=False, include_input=False, include_context=False)
    ]
    return (
        f"Failed to configure shields: {'; '.join(faults)}. "
        f"Kinds are {', '.join(SHIELDS)}; correct the configuration of inline::lightspeed-shields."
    )
