"""What every kind of shield must do; a kind's test inherits this and gives its examples."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from lightspeed_providers.core.verdicts import Action, Direction, Screening
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.policy import ConfiguredShield, ShieldPolicy
from lightspeed_providers.safety.shields import SHIELDS
from lightspeed_providers.safety.shields.base import Answer, Embedder, OnError

REFUSAL = "Refused by the contract."


class ShieldContract:
    """Inherit, set `options`, and list texts with what must become of them."""

    options: ClassVar[Mapping[str, Any]]
    must_block: ClassVar[Sequence[str]] = ()
    must_allow: ClassVar[Sequence[str]]
    must_replace: ClassVar[Mapping[str, str]] = {}

    @pytest.fixture
    def embedder(self) -> Embedder | None:
        """What a kind that compares embeddings gets; override it there."""
        return None

    @pytest.fixture
    def configured(self, embedder: Embedder | None) -> ConfiguredShield:
        config = LightspeedShieldsConfig.model_validate(
            {"shields": {"inout_shield": {**self.options, "refusal": REFUSAL, "timeout_s": 20}}}
        )
        options = config.shields["inout_shield"]
        return ConfiguredShield(
            "inout_shield", options.kind, options.build(embedder), options.refusal, 20
        )

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
    alone = ConfiguredShield(
        configured.shield_id,
        configured.kind,
        configured.shield,
        configured.refusal,
        timeout_s,
        on_error,
    )
    return await ShieldPolicy([alone]).screen(Direction.INPUT, text)
