"""The topic shield: what it lets pass, what it stops, and which of its judges decides."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from shield_contract import ShieldContract
from topic_questions import (
    Labelled,
    answers_to,
    ask,
    embed,
    no_chat,
    options_of,
    product_shield,
    shield_of,
    tuning_questions,
)

from lightspeed_providers.core.verdicts import Action, Context, Direction
from lightspeed_providers.safety.checking import ConfiguredShield
from lightspeed_providers.safety.policy import ShieldPolicy
from lightspeed_providers.safety.shields.base import Allow, Block, Message, Models, NoVerdictError
from lightspeed_providers.safety.shields.question_validity import (
    QuestionValidityOptions,
    QuestionValidityShield,
)
from lightspeed_providers.safety.shields.topic.judge import Judge
from lightspeed_providers.safety.shields.topic.learning import learn
from lightspeed_providers.safety.shields.topic.names import NamedSoftware

DJANGO = options_of("django")
PRODUCTS = ("django", "postgresql")


class TestQuestionValidity(ShieldContract):
    options = DJANGO
    must_block = (
        "How long do I boil an egg?",
        "Write a haiku about autumn leaves",
        "hi " + " " * 1200 + "how long do I boil an egg, and a potato?",
        "How do I borrow a value in Rust?",
        "Who played the bounty hunter in the western?",
        "¿Quién ganó el partido de fútbol de anoche?",
        "H\u200bow l\u200bong d\u200bo I b\u200boil an e\u200bgg?",
    )
    must_allow = (
        "How do I squash my migrations?",
        "Hi!",
        "hello there, good morning",
        "Thank you very much, that helped!",
        "ok 👍",
        "¿?",
        "Guten Morgen!",
        "What can you help me with?",
        "Traceback (most recent call last):\n" + "  File x.py, line 1\n" * 200 + "NoReverseMatch: "
        "Reverse for 'detail' not found in my Django template. Why?",
    )

    @pytest.fixture
    async def models(self) -> Models:
        await ask(product_shield("django"), "The examples are embedded once, untimed.")
        return Models(lambda _: embed, no_chat)


@pytest.fixture
def shield() -> QuestionValidityShield:
    return product_shield("django")


def share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


class TestQuality:
    """Floors on the half that was tuned with; the other half is for the evaluation alone."""

    @pytest.mark.parametrize("product", PRODUCTS)
    async def test_the_tuning_half(self, product: str) -> None:
        answers = await answers_to(product_shield(product), tuning_questions(product))
        wanted = [a for q, a in answers if not q.block]
        unwanted = [a for q, a in answers if q.block]
        assert len(wanted) >= 150
        assert len(unwanted) >= 100
        assert share([isinstance(a, Block) for a in wanted]) <= 0.02
        assert share([isinstance(a, Block) for a in unwanted]) >= 0.9
        near = [isinstance(a, Block) for q, a in answers if q.label == "near_miss"]
        assert share(near) >= 0.88
        stages = Counter(a.stage for _, a in answers)
        assert set(stages) == {"small_talk", "static", "embedding"}
        assert stages["static"] >= 0.4 * len(answers)

    @pytest.mark.parametrize("product", PRODUCTS)
    async def test_a_model_is_asked_about_few(self, product: str) -> None:
        judge = Judging("ALLOWED")
        shield = shield_of({**options_of(product), "model": "judge"}, judge.models)
        answers = await answers_to(shield, tuning_questions(product))
        asked = [a for _, a in answers if a.stage == "model"]
        assert len(asked) == len(judge.asked)
        assert 0 < len(asked) <= 0.1 * len(answers)

    async def test_forty_examples_a_side_give_sensible_thresholds(self) -> None:
        answers = await answers_to(shield_of(fewer(40)), plain_questions())
        assert share([isinstance(a, Block) for q, a in answers if not q.block]) <= 0.12
        assert share([isinstance(a, Block) for q, a in answers if q.block]) >= 0.7

    async def test_three_examples_a_side_already_work(self) -> None:
        answers = await answers_to(shield_of(fewer(3)), plain_questions())
        everyday = [isinstance(a, Block) for q, a in answers if q.label == "off_topic"]
        assert share(everyday) >= 0.85
        assert share([isinstance(a, Block) for q, a in answers if not q.block]) <= 0.25

    async def test_generic_examples_make_way_for_a_product_about_such_things(self) -> None:
        shield = shield_of(
            {
                **DJANGO,
                "topic": "Cooking at home: recipes, baking, menus, kitchen equipment.",
                "on_topic": [
                    "How do I bake bread with a sourdough starter?",
                    "recipe for vegetarian lasagne",
                    "how long does a turkey need in the oven",
                    "Can I freeze cooked pasta?",
                    "my cake sank in the middle",
                    "what can I make for dinner with rice and beans",
                    "which wine goes with lamb",
                ],
                "off_topic": ["repair my car", "who won the match", "plan a trip to Rome"],
            }
        )
        assert isinstance(await ask(shield, "How long do I bake a loaf of rye bread?"), Allow)
        assert isinstance(await ask(shield, "Which shares should I buy?"), Block)


def fewer(count: int) -> dict[str, Any]:
    chosen = random.Random(1)
    return {
        **DJANGO,
        **{side: chosen.sample(DJANGO[side], count) for side in ("on_topic", "off_topic")},
    }


def plain_questions() -> list[Labelled]:
    labels = {"on_topic", "off_topic", "near_miss"}
    return [q for q in tuning_questions("django") if q.label in labels]


class TestFollowUps:
    @pytest.mark.parametrize(
        ("earlier", "text"),
        [
            (["How do I install Django on Linux?"], "and on Windows?"),
            (["What does select_related do?"], "why?"),
            (["How do I create a superuser?"], "What if I forgot the password?"),
            (["How do I write a custom migration?"], "Can you show an example?"),
            (["How do I cache a view?"], "for how long?"),
            (["How do I add a foreign key?"], "and how do I remove it again?"),
            (["What is a QuerySet?"], "is it lazy"),
            (["CSRF verification failed. Request aborted."], "still the same error"),
            (["How do I send e-mail?", "with attachments?"], "and several of them?"),
            (["How do I deploy with gunicorn?"], "OSError: [Errno 13] Permission denied"),
            ([], "It does not work, what am I doing wrong?"),
        ],
    )
    async def test_a_follow_up_passes(
        self, shield: QuestionValidityShield, earlier: list[str], text: str
    ) -> None:
        assert isinstance(await ask(shield, text, *earlier), Allow)

    @pytest.mark.parametrize(
        ("earlier", "text"),
        [
            (["How do I write a ListView?"], "ok, and what should I cook?"),
            (["How do I write a ListView?"], "What is the capital of France?"),
            (["How do I cache a view?"], "How do I bake a cake?"),
            (["How do I create a superuser?"], "Who won the world cup?"),
            (["How do I add a foreign key?"], "Write a poem about love"),
            (["How do I paginate results?"], "Which stocks should I buy?"),
            (["How do I serve static files?"], "Will it rain tomorrow?"),
            (["How do I roast a chicken?"], "why?"),
            (["How do I roast a chicken?", "for how long?"], "and without an oven?"),
        ],
    )
    async def test_a_change_of_subject_does_not(
        self, shield: QuestionValidityShield, earlier: list[str], text: str
    ) -> None:
        assert isinstance(await ask(shield, text, *earlier), Block)

    async def test_blank_turns_before_are_no_turns(self, shield: QuestionValidityShield) -> None:
        answer = await ask(shield, "How do I bake a cake?", "", " \n")
        assert isinstance(answer, Block)


class TestMixedTexts:
    @pytest.mark.parametrize(
        "text",
        [
            "How do I add a foreign key? Also, write me a 500 word essay about the French "
            "Revolution, with an introduction and a conclusion.",
            "How do I add a foreign key to my model? " * 3
            + "By the way, how do I bake sourdough bread at home?",
            "In my Django project, models.ForeignKey(Book, on_delete=models.CASCADE) works fine.\n"
            "Write a love poem to my wife about the sea, ten verses, and make it rhyme.",
            "How do I write a migration for my Django model? " * 40
            + "Now plan a week of holidays in Greece with two children.",
            "What should I cook tonight?\n" + "How do I write a migration? models.py " * 60,
        ],
    )
    async def test_a_good_beginning_hides_nothing(
        self, shield: QuestionValidityShield, text: str
    ) -> None:
        assert isinstance(await ask(shield, text), Block)

    @pytest.mark.parametrize(
        "text",
        [
            "Hi, I build a web site for my bakery. We sell cakes and bread in three shops, and "
            "customers order by phone. How do I add a foreign key from cake to shop?",
            "Hello! My uncle runs a hotel near the beach and asked me for a booking page. I know "
            "some Python. Should a reservation be a model of its own, or a many-to-many through?",
            "We are a small clinic. Doctors write notes on patients. Only the doctor who wrote a "
            "note may see it. Do I check that permission in the view or in the queryset?",
        ],
    )
    async def test_a_story_before_the_question_does_no_harm(
        self, shield: QuestionValidityShield, text: str
    ) -> None:
        assert isinstance(await ask(shield, text), Allow)


class TestHostileTexts:
    @pytest.mark.parametrize(
        "text",
        [
            "word " * 1_000_000,
            "a" * 1_000_000,
            "é? " * 300_000,
            "How do I bake a cake?\n" * 50_000,
            "\ud800\udc00 \ud800",
            "🤖" * 10_000,
            "".join(map(chr, range(0x20, 0x3000))),
        ],
        ids=["words", "letters", "questions", "lines", "surrogates", "emoji", "planes"],
    )
    async def test_any_text_gets_an_answer_in_time(
        self, shield: QuestionValidityShield, text: str
    ) -> None:
        await shield.check("warm up", Direction.INPUT, Context())
        began = time.process_time()
        answer = await ask(shield, text)
        assert time.process_time() - began < 8
        assert answer.score is not None
        assert 0 <= answer.score <= 1

    @pytest.mark.parametrize("text", ["", " \n\t ", "\u200b" * 100_000, "\u2800\ufe0f\u3164"])
    async def test_nothing_to_read_passes(self, shield: QuestionValidityShield, text: str) -> None:
        assert await ask(shield, text) == Allow(score=0.0, stage="small_talk")

    async def test_the_loop_goes_on_while_a_long_text_is_read(
        self, shield: QuestionValidityShield
    ) -> None:
        await shield.check("warm up", Direction.INPUT, Context())
        check = asyncio.create_task(shield.check("é word? " * 100_000, Direction.INPUT, Context()))
        turns = 0
        while not check.done():
            await asyncio.sleep(0.005)
            turns += 1
        assert turns >= 5


class TestModel:
    """A language model decides only what is unclear, and its verdict counts."""

    @pytest.mark.parametrize(("verdict", "kind"), [("ALLOWED", Allow), ("**Off-topic.**", Block)])
    async def test_its_verdict_counts(
        self, verdict: str, kind: type, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judge = Judging(verdict)
        shield = shield_of({**DJANGO, "model": "judge"}, judge.models)
        answer = await ask(await unsure(shield, monkeypatch), "why is it blue", "What is CSRF?")
        assert isinstance(answer, kind)
        assert answer.stage == "model"
        assert answer.score is not None
        [(messages, tokens)] = judge.asked
        assert tokens <= 16
        assert [m.role for m in messages] == ["system", "user"]
        assert DJANGO["topic"] in messages[0].content
        assert "What is CSRF?" in messages[1].content
        assert "why is it blue" in messages[1].content

    async def test_what_is_clear_costs_no_call(self) -> None:
        judge = Judging("REJECTED")
        shield = shield_of({**DJANGO, "model": "judge"}, judge.models)
        for text in ("How do I squash my migrations?", "Hi!", "How do I bake a cake?"):
            await ask(shield, text)
        assert judge.asked == []

    async def test_a_long_question_is_shown_by_its_ends(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judge = Judging("yes")
        shield = shield_of({**DJANGO, "model": "judge"}, judge.models)
        await ask(await unsure(shield, monkeypatch), "first " + "word " * 20_000 + "last")
        [(messages, _)] = judge.asked
        assert len(messages[1].content) < 2_000
        assert "first" in messages[1].content
        assert "last" in messages[1].content

    @pytest.mark.parametrize("babble", ["", "The capital of France is Paris.", "yes or no", "🤖"])
    async def test_babble_raises_and_tells_nothing_of_the_text(
        self, babble: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shield = shield_of({**DJANGO, "model": "judge"}, Judging(babble).models)
        with pytest.raises(NoVerdictError) as raised:
            await ask(await unsure(shield, monkeypatch), "a secret question")
        assert "secret" not in str(raised.value)
        assert babble == "" or babble not in str(raised.value)

    @pytest.mark.parametrize("on_error", ["block", "allow"])
    @pytest.mark.parametrize("judge", ["babbling", "failing", "slow"])
    async def test_a_failing_model_follows_on_error(
        self, judge: str, on_error: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = {"babbling": Judging("hmm"), "failing": Failing(), "slow": Slow()}[judge]
        options = QuestionValidityOptions.model_validate(
            {**DJANGO, "model": "judge", "on_error": on_error, "timeout_s": 1.0}
        )
        shield = shield_of({**DJANGO, "model": "judge"}, model.models)
        await unsure(shield, monkeypatch)
        policy = ShieldPolicy([ConfiguredShield("input_topic", options, shield)])
        screening = await policy.screen(Direction.INPUT, "an unclear question")
        assert screening.verdicts[0].error
        assert screening.verdicts[0].action is Action(on_error)


async def unsure(
    shield: QuestionValidityShield, monkeypatch: pytest.MonkeyPatch
) -> QuestionValidityShield:
    """Return the shield with judges to whom everything is unclear."""
    topic = await shield._topic.get()
    monkeypatch.setattr(Judge, "probability", lambda _self, rows, *_: np.full(len(rows), 0.5))
    for cutoffs in (topic.quick_cutoffs, topic.last_cutoffs):
        object.__setattr__(cutoffs, "clear_below", 0.0)
        object.__setattr__(cutoffs, "clear_above", 1.0)
    return shield


class Judging:
    """A language model that always says the same."""

    def __init__(self, verdict: str) -> None:
        self.asked: list[tuple[Sequence[Message], int]] = []
        self._verdict = verdict

    @property
    def models(self) -> Models:
        return Models(lambda _: embed, lambda _: self)

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        self.asked.append((messages, max_tokens))
        return self._verdict


class Failing(Judging):
    """A language model whose server is gone."""

    def __init__(self) -> None:
        super().__init__("")

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        raise ConnectionError("the server is gone")


class Slow(Judging):
    """A language model that never answers."""

    def __init__(self) -> None:
        super().__init__("")

    async def __call__(self, messages: Sequence[Message], *, max_tokens: int) -> str:
        await asyncio.Event().wait()
        raise AssertionError


class TestLearning:
    @pytest.fixture(autouse=True)
    def _nothing_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LIGHTSPEED_CACHE_DIR", str(tmp_path))

    async def test_waiting_checks_share_one_embedding_of_the_examples(self) -> None:
        counting = CountingEmbed()
        shield = shield_of(DJANGO, counting.models)
        await asyncio.gather(*(ask(shield, f"How do I use field {n}?") for n in range(8)))
        assert counting.bulk_calls == 1

    async def test_a_check_that_gives_up_does_not_stop_it(self) -> None:
        counting = CountingEmbed()
        counting.may_go_on.clear()
        shield = shield_of(DJANGO, counting.models)
        first = asyncio.create_task(ask(shield, "How do I use fields?"))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        counting.may_go_on.set()
        assert isinstance(await ask(shield, "How do I bake bread?"), Block)
        assert counting.bulk_calls == 1

    async def test_a_failure_is_raised_and_the_next_check_tries_again(self) -> None:
        counting = CountingEmbed()
        counting.failures = 1
        shield = shield_of(DJANGO, counting.models)
        with pytest.raises(ConnectionError):
            await ask(shield, "How do I use fields?")
        assert isinstance(await ask(shield, "How do I bake bread?"), Block)

    async def test_the_same_examples_teach_the_same(self) -> None:
        first, second = [
            await learn(DJANGO["topic"], DJANGO["on_topic"], DJANGO["off_topic"], embed)
            for _ in range(2)
        ]
        assert first.last_cutoffs == second.last_cutoffs
        assert first.quick_cutoffs == second.quick_cutoffs
        assert first.thorough.head.to_dict() == second.thorough.head.to_dict()

    async def test_an_example_given_twice_or_on_both_sides_is_no_harm(self) -> None:
        options = {
            **DJANGO,
            "on_topic": [*DJANGO["on_topic"], DJANGO["on_topic"][0], DJANGO["off_topic"][0]],
        }
        assert isinstance(await ask(shield_of(options), "How do I bake bread?"), Block)


class CountingEmbed:
    """The real embedding model, with every batch of examples counted."""

    def __init__(self) -> None:
        self.bulk_calls = 0
        self.failures = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    @property
    def models(self) -> Models:
        return Models(lambda _: self, no_chat)

    async def __call__(self, texts: list[str]) -> NDArray[np.float32]:
        self.bulk_calls += len(texts) > 50
        await self.may_go_on.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the embedding model is gone")
        return await embed(texts)


class TestOptions:
    def test_it_names_the_models_it_asks(self) -> None:
        options = QuestionValidityOptions.model_validate(DJANGO)
        assert options.models == ("embeddings",)
        with_judge = QuestionValidityOptions.model_validate({**DJANGO, "model": "judge"})
        assert with_judge.models == ("embeddings", "judge")

    @pytest.mark.parametrize("missing", ["topic", "on_topic", "off_topic", "embedding_model"])
    def test_what_it_needs_is_asked_for(self, missing: str) -> None:
        options = {name: value for name, value in DJANGO.items() if name != missing}
        with pytest.raises(ValueError, match=missing):
            QuestionValidityOptions.model_validate(options)


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("redis times out", (0, 0, 0)),  # an example speaks of it
        ("Laravel middleware", (1, 0, 0)),
        ("Laravel or Django?", (0, 1, 1)),
        ("a Flask app", (1, 0, 0)),  # only compared with the product
        ("Django views", (0, 0, 1)),
        ("node.js: promises", (1, 0, 0)),
        ("how do I sort in c++?", (1, 0, 0)),
        ("bake bread", (0, 0, 0)),
    ],
)
def test_names_of_software_are_signs(text: str, signs: tuple[int, int, int]) -> None:
    names = NamedSoftware("The Django framework.", ["redis as cache", "from Flask to Django"])
    assert names.signs(text) == signs


def test_a_product_that_no_list_knows_is_known_by_its_name() -> None:
    names = NamedSoftware("Running the Acmesync file service.", ["restart it"])
    assert names.signs("Acmesync or MySQL?") == (0, 1, 1)


class TestExamplesInAFile:
    def options(self, file: Path) -> dict[str, Any]:
        sides = ("on_topic", "off_topic")
        rest = {name: value for name, value in DJANGO.items() if name not in sides}
        return {**rest, "examples": str(file)}

    def test_a_file_is_read_and_watched(self, tmp_path: Path) -> None:
        file = tmp_path / "pump.yaml"
        file.write_text("on_topic: [a, b, c]\noff_topic: [d, e]\n")
        options = QuestionValidityOptions.model_validate({**self.options(file), "off_topic": ["f"]})
        assert options.sides.on_topic == ("a", "b", "c")
        assert options.sides.off_topic == ("d", "e", "f")
        assert options.files == (file,)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            (None, "can't be read"),
            ("on_topic: [a, b]\noff_topic: [c, d, e]", "`on_topic` has 2 questions"),
            ("on_topic: yes", "no YAML with lists"),
            ("{", "no YAML with lists"),
            ("other: []", "no YAML with lists"),
        ],
    )
    def test_a_wrong_file_is_told_in_one_line(
        self, text: str | None, reason: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "pump.yaml"
        if text is not None:
            file.write_text(text)
        with pytest.raises(ValueError, match=reason):
            QuestionValidityOptions.model_validate(self.options(file))
