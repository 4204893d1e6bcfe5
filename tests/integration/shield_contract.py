"""What every kind of shield must do; a kind's test inherits this and gives its examples."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from lightspeed_providers.core.verdicts import Action, Direction, Screening
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields import SHIELDS
from lightspeed_providers.safety.shields.base import Answer, Models, OnError

REFUSAL = "Refused by the contract."


class ShieldContract:
    """Inherit, set `options`, and list texts with what must become of them."""

    options: ClassVar[Mapping[str, Any]]
    must_block: ClassVar[Sequence[str]] = ()
    must_allow: ClassVar[Sequence[str]]
    must_replace: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def models(self) -> Models:
        """What a kind that asks models gets; override it there."""
        return Models(_no_model, _no_model)

    @pytest.fixture
    def configured(self, models: Models) -> ConfiguredShield:
        config = LightspeedShieldsConfig.model_validate(
            {"shields": {"inout_shield": {**self.options, "refusal": REFUSAL, "timeout_s": 20}}}
        )
        options = config.shields["inout_shield"]
        return ConfiguredShield("inout_shield", options, options.build(models))

    async def test_blocks_what_it_must(self, configured: ConfiguredShield) -> None:
        wrong = [t for t in self.must_block if not (await screened(configured, t)).blocked_by]
        assert wrong == []

    async def test_a_block_carries_the_refusal(self, configured: ConfiguredShield) -> None:
        for text in self.must_block[:1]:
            blocked = (await screened(configured, text)).blocked_by
            assert blocked is not None
            assert (blocked.message, blocked.error) == (REFUSAL, None)
            assert blocked.kind == self.options["kind"]

    async def test_allows_what_it_must(self, configured: ConfiguredShield) -> None:
        actions = {t: (await screened(configured, t)).verdicts[0].action for t in self.must_allow}
        assert [text for text, action in actions.items() if action is not Action.ALLOW] == []

    async def test_rewrites_what_it_must(self, configured: ConfiguredShield) -> None:
        rewritten = {text: (await screened(configured, text)).text for text in self.must_replace}
        assert rewritten == dict(self.must_replace)

    @pytest.mark.parametrize("size", [1, 7, 10_000])
    async def test_a_stream_ends_as_the_whole_text_would(
        self, configured: ConfiguredShield, size: int
    ) -> None:
        policy = ShieldPolicy([configured])
        for text in [*self.must_block, *self.must_allow, *self.must_replace][:30]:
            if len(text) > 5_000:
                continue
            whole = await policy.screen(Direction.OUTPUT, text)
            stream = policy.stream(Direction.OUTPUT, checkpoint_chars=10_000)
            left = [await stream.push(text[n : n + size]) for n in range(0, len(text), size)]
            left.append(await stream.end())
            if whole.blocked_by is None:
                assert "".join(left) == whole.text
            else:
                assert stream.blocked_by is not None
                assert text.startswith("".join(left))
                assert "".join(left) != text

    async def test_allows_empty_text(self, configured: ConfiguredShield) -> None:
        for text in ("", " \n", "\u200b" * 100):
            screening = await screened(configured, text)
            assert screening.verdicts[0].action is Action.ALLOW
            assert screening.verdicts[0].error is None

    @pytest.mark.parametrize(
        ("on_error", "action"), [(OnError.BLOCK, Action.BLOCK), (OnError.ALLOW, Action.ALLOW)]
    )
    async def test_a_failure_follows_on_error(
        self,
        configured: ConfiguredShield,
        on_error: OnError,
        action: Action,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def raises(*_: object) -> Answer:
            raise RuntimeError("about the user's text")

        monkeypatch.setattr(configured.shield, "check", raises)
        verdict = (await screened(configured, "some text", on_error=on_error)).verdicts[0]
        assert (verdict.action, verdict.error) == (action, "RuntimeError")
        assert verdict.message == (REFUSAL if action is Action.BLOCK else None)

    @pytest.mark.parametrize(
        ("on_error", "action"), [(OnError.BLOCK, Action.BLOCK), (OnError.ALLOW, Action.ALLOW)]
    )
    async def test_a_timeout_follows_on_error(
        self,
        configured: ConfiguredShield,
        on_error: OnError,
        action: Action,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        async def hangs(*_: object) -> Answer:
            await asyncio.Event().wait()
            raise AssertionError

        monkeypatch.setattr(configured.shield, "check", hangs)
        screening = await screened(configured, "some text", on_error=on_error, timeout_s=0.02)
        assert screening.verdicts[0].action is action
        assert screening.verdicts[0].error == "no answer within 0.02 s"

    def test_refuses_unknown_options(self) -> None:
        with pytest.raises(Exception, match=r"Failed to configure shields: .*no_such_option"):
            LightspeedShieldsConfig.model_validate(
                {"shields": {"input_x": {**self.options, "no_such_option": 1}}}
            )

    def test_is_registered_under_its_kind(self) -> None:
        assert SHIELDS[self.options["kind"]].model_validate(self.options)


async def screened(
    configured: ConfiguredShield,
    text: str,
    *,
    on_error: OnError = OnError.BLOCK,
    timeout_s: float = 20,
) -> Screening:
    """Return what a policy of this one shield says."""
    options = configured.options.model_copy(update={"on_error": on_error, "timeout_s": timeout_s})
    alone = ConfiguredShield(configured.shield_id, options, configured.shield)
    return await ShieldPolicy([alone]).screen(Direction.INPUT, text)


def _no_model(model: str) -> Any:
    raise AssertionError(f"this kind asks no model, and asked {model}")
