"""Several releases and products in one index: a search never finds what it was not asked for."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pump_manual import Counting, HashedWords, about, asks, build, written

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.product_rag.filters import (
    Condition,
    Operator,
    Together,
    Value,
    Wanted,
    Where,
    groups_of,
    holds,
    named_versions,
)
from lightspeed_providers.product_rag.index.content import Group
from lightspeed_providers.product_rag.index.manifest import read_manifest
from lightspeed_providers.product_rag.index.versions import latest, matching_version, version_key
from lightspeed_providers.product_rag.naming import named_products
from lightspeed_providers.product_rag.retrieval import SearchResult
from lightspeed_providers.product_rag.scopes import Scopes

Ask = Callable[..., SearchResult]

VERSIONS = ("1.9", "1.10", "2.0")
SAME = "# Cleaning\n\nRinse the filter with cold water and let it dry before the next start."


def pages(version: str) -> dict[str, str]:
    """One page is the same in all versions, one differs, one is new in each."""
    slug = version.replace(".", "-")
    return {
        "cleaning.md": SAME,
        "starting.md": f"---\naudience: user\n---\n# Starting\n\nIn release {version} press the "
        f"button{slug} and wait until the lamp is green.",
        f"news-{slug}.md": f"---\naudience: admin\nlevel: {len(slug)}\n---\n# News\n\n"
        f"Release {version} brings feature{slug} for the pressure sensor.",
    }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions of a pump, in no order, a valve, and the pump's newest in German."""
    folder = tmp_path_factory.mktemp("releases")
    index = folder / "index"
    for version in ("2.0", "1.9", "1.10"):
        source = written(folder / version, pages(version))
        build(about(source, version=version), index, add=True)
    german = written(folder / "de", {"reinigen.md": "# Reinigen\n\nDas Sieb in Wasser spülen."})
    build(about(german, version="2.0", language="de"), index, add=True)
    valve = written(
        folder / "valve",
        {"cleaning.md": "# Cleaning\n\nRinse the seat of the filter with warm water."},
    )
    build(about(valve, product="Beta Valve", version="7"), index, add=True)
    return index


@pytest.fixture(scope="module")
def ask(directory: Path) -> Ask:
    return asks(directory)


def versions_of(found: SearchResult) -> set[str]:
    return {passage.version for passage in found.passages}


def products_of(found: SearchResult) -> set[str]:
    return {passage.product for passage in found.passages}


PUMP = Wanted(product="acme pump", language="en")


# Texts that are the same


def test_the_same_text_is_stored_and_embedded_once(tmp_path: Path) -> None:
    for version in VERSIONS:
        encoder = Counting(HashedWords())
        source = written(tmp_path / version, pages(version))
        build(about(source, version=version), tmp_path / "index", encoder, add=True)
        assert len(encoder.texts) == (3 if version == "1.9" else 2)
    manifest = read_manifest(tmp_path / "index")
    assert (manifest.passages, manifest.texts) == (9, 7)
    assert [(release.version, release.passages) for release in manifest.releases] == [
        ("1.10", 3),
        ("1.9", 3),
        ("2.0", 3),
    ]


@pytest.mark.parametrize(("version", "cited"), [(None, "2.0"), ("all", "2.0"), ("1.9", "1.9")])
def test_the_same_text_is_found_once_and_cited_at_the_newest(
    ask: Ask, version: str | None, cited: str
) -> None:
    found = ask("rinse the filter with cold water", Wanted("Acme Pump", version, "en"), k=20)
    same = [passage for passage in found.passages if passage.title == "Cleaning"]
    assert [passage.version for passage in same] == [cited]
    assert same[0].doc_url.startswith(f"https://docs.example.com/{cited}/cleaning/")


# Versions


@pytest.mark.parametrize("version", VERSIONS)
def test_no_search_of_a_version_finds_another(ask: Ask, version: str) -> None:
    chance = random.Random(version)
    words = " ".join(page for held in VERSIONS for page in pages(held).values()).split()
    for _ in range(40):
        query = " ".join(chance.choices(words, k=chance.randint(1, 12)))
        for mode in ("hybrid", "dense", "keyword"):
            found = ask(query, Wanted(version=version, product="Acme Pump"), k=20, mode=mode)
            assert versions_of(found) <= {version}
            assert found.errors == ()


@pytest.mark.parametrize(
    ("query", "wanted", "settings", "versions"),
    [
        ("press the button", PUMP, {}, {"2.0"}),
        ("press the button", PUMP, {"default_version": "all"}, set(VERSIONS)),
        ("press the button", PUMP, {"default_version": "1.9"}, {"1.9"}),
        ("press the button", Wanted(version="latest", product="Acme Pump"), {}, {"2.0"}),
        ("press the button", Wanted(version="all", product="Acme Pump"), {}, set(VERSIONS)),
        ("press the button", Wanted(version="1.10.3", product="Acme Pump"), {}, {"1.10"}),
        ("press the button", Wanted(version="v1.9", product="Acme Pump"), {}, {"1.9"}),
        ("press the button", Wanted(version="1", product="Acme Pump"), {}, {"1.10"}),
        ("which button in Acme Pump 1.9?", PUMP, {}, {"1.9"}),
        ("which button in Acme Pump 1.9.", PUMP, {}, {"1.9"}),
        ("which button in 1.10.4", PUMP, {}, {"1.10"}),
        ("buttons of 1.9 and 2.0 compared", PUMP, {}, {"1.9", "2.0"}),
        ("which button with Python 1.9", PUMP, {}, {"2.0"}),
        ("which button in Acme Pump 1.9", Wanted(version="2.0"), {}, {"2.0"}),
        ("the button in 4.5", PUMP, {}, {"2.0"}),
    ],
)
def test_a_version_is_what_filter_question_or_default_say(
    ask: Ask, query: str, wanted: Wanted, settings: dict[str, Any], versions: set[str]
) -> None:
    assert versions_of(ask(query, wanted, k=20, **settings)) == versions


@pytest.mark.parametrize(
    ("where", "versions"),
    [
        (Condition("version", "in", ("1.9", "1.10")), {"1.9", "1.10"}),
        (Condition("version", "eq", "1.9"), {"1.9"}),
        (Condition("version", "lt", "2"), {"1.9", "1.10"}),
        (Condition("version", "gt", "1.9"), {"1.10", "2.0"}),
        (Condition("version", "ne", "1.10"), {"1.9", "2.0"}),
        (Together("any", (Condition("version", "lte", "1.9"),)), {"1.9"}),
    ],
)
@pytest.mark.parametrize("default", ["latest", "2.0"])
def test_a_filter_on_the_version_is_no_default(
    ask: Ask, where: Where, versions: set[str], default: str
) -> None:
    wanted = Wanted(product="Acme Pump", language="en", where=where)
    assert versions_of(ask("button", wanted, k=20, default_version=default)) == versions


def test_a_default_that_a_product_does_not_have_is_its_latest(ask: Ask) -> None:
    found = ask("rinse the filter with water", k=20, default_version="1.9")
    assert {(passage.product, passage.version) for passage in found.passages} == {
        ("Acme Pump", "1.9"),
        ("Beta Valve", "7"),
    }


@pytest.mark.parametrize(
    ("wanted", "held", "meant"),
    [
        ("5.2.19", ["5.1", "5.2"], "5.2"),
        ("5.2", ["5.2", "5.2.1"], "5.2"),
        ("5.2.1.4", ["5.2", "5.2.1"], "5.2.1"),
        ("5", ["5.9", "5.10", "6.0"], "5.10"),
        ("v5.1", ["5.1"], "5.1"),
        ("5.20", ["5.2"], None),
        ("4", ["5.2"], None),
        ("main", ["main", "5.2"], "main"),
    ],
)
def test_which_version_is_meant(wanted: str, held: list[str], meant: str | None) -> None:
    assert matching_version(wanted, held) == meant


def test_versions_are_ordered_as_versions() -> None:
    unordered = ["10.0", "1.10", "2.0", "1.9", "1.10rc1"]
    assert sorted(unordered, key=version_key) == ["1.9", "1.10rc1", "1.10", "2.0", "10.0"]
    assert latest(["1.9", "main", "1.10"]) == "1.10"
    assert latest(["main", "next"]) == "next"
    assert latest(["R23", "R3"]) == "R23"


@pytest.mark.parametrize(
    ("question", "versions"),
    [
        ("in Acme Pump 5.2?", ("5.2",)),
        ("in 5.2.", ("5.2",)),
        ("in (5.2)", ("5.2",)),
        ("v5.2", ("5.2",)),
        ("acme-5.2", ("5.2",)),
        ("version: 5.2.x", ("5.2",)),
        ("since release 5.2.19", ("5.2",)),
        ("upgrade from 1.9 to 1.10", ("1.9", "1.10")),
        ("1.9, 1.10 or 5.2", ("1.9", "1.10", "5.2")),
        ("1.9->1.10", ("1.9", "1.10")),
        ("version 16", ("16",)),
        ("Acme Pump 16 on Linux", ("16",)),
        ("Acme Pump 15 and 16", ("15", "16")),
        ("wait 16 minutes", ()),
        ("16 bar", ()),
        ("Acme Pump 5", ()),
        ("with Python 3.12", ()),
        ("with Python3.12", ()),
        ("with python-3.12", ()),
        ("python >= 3.12", ()),
        ("Python 3.12 or 3.11", ()),
        ("Python 3.12 on Acme 5.2", ("5.2",)),
        ("from 10.0.5.2", ()),
        ("5.2rc1", ()),
        ("file_5.2", ()),
        ("nothing", ()),
    ],
)
def test_a_question_names_versions(question: str, versions: tuple[str, ...]) -> None:
    held = ["1.9", "1.10", "3.11", "3.12", "5.2", "15", "16"]
    assert named_versions(question, "Acme Pump", held) == versions


@pytest.mark.parametrize("question", ["1." * 50_000, "a" * 100_000, "a " * 50_000, "1 " * 50_000])
def test_no_question_takes_long_to_read(question: str) -> None:
    assert named_versions(question, "Acme Pump", ["1.9"]) == ()


# Products


def test_a_product_filter_finds_no_other(ask: Ask) -> None:
    for product in ("Acme Pump", "Beta Valve"):
        found = ask("rinse the filter with water", Wanted(product=product.upper()), k=20)
        assert products_of(found) == {product}


@pytest.mark.parametrize("product", ["Acme Pump", "Beta Valve"])
def test_a_product_that_is_named_leads(ask: Ask, product: str) -> None:
    found = ask(f"{product}: rinse the filter with water", Wanted(language="en"), k=20)
    assert found.passages[0].product == product
    assert products_of(found) == {"Acme Pump", "Beta Valve"}


def test_each_product_has_its_own_versions(ask: Ask) -> None:
    found = ask("rinse the filter: Acme Pump 1.9", Wanted(language="en"), k=20)
    assert {(passage.product, passage.version) for passage in found.passages} == {
        ("Acme Pump", "1.9"),
        ("Beta Valve", "7"),
    }


@pytest.mark.parametrize("product", ["Acme Pump", "Beta Valve"])
def test_a_text_of_two_products_is_cited_from_the_one_that_is_named(
    tmp_path: Path, product: str
) -> None:
    source = written(tmp_path / "docs", {"guarantee.md": "# Guarantee\n\nIt lasts two years."})
    for name, version in {"Acme Pump": "2.0", "Beta Valve": "7.0"}.items():
        build(about(source, product=name, version=version), tmp_path / "index", add=True)
    assert read_manifest(tmp_path / "index").texts == 1
    found = asks(tmp_path / "index")(f"What guarantee does the {product} have?")
    assert [passage.product for passage in found.passages] == [product]


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("How do I clean the ACME PUMP?", {"Acme Pump"}),
        ("acme pumps", set()),
        ("C++ and C", {"C++", "C"}),
        ("C++", {"C++", "C"}),
        ("scrap", set()),
    ],
)
def test_products_are_named_as_words(question: str, named: set[str]) -> None:
    assert named_products(question, ["Acme Pump", "C++", "C"]) == named


# Languages and attributes


def test_a_language_is_a_filter(ask: Ask) -> None:
    for language in ("en", "de"):
        found = ask("Sieb filter Wasser", Wanted(language=language), k=20)
        assert {passage.language for passage in found.passages} == {language}


def test_front_matter_is_a_filter(ask: Ask) -> None:
    for audience, title in {"user": "Starting", "admin": "News"}.items():
        where = Condition("audience", "eq", audience)
        found = ask("release", Wanted(version="all", where=where), k=20)
        assert {passage.title for passage in found.passages} == {title}
        assert {passage.attributes["audience"] for passage in found.passages} == {audience}


FACTS = {"product": "Acme", "version": "1.10", "audience": "admin", "level": "10", "beta": "true"}


@pytest.mark.parametrize(
    ("field", "operator", "value", "is_so"),
    [
        ("audience", "eq", "ADMIN", True),
        ("audience", "eq", "user", False),
        ("audience", "ne", "user", True),
        ("audience", "ne", "admin", False),
        ("audience", "in", ("user", "admin"), True),
        ("audience", "in", ("user", "guest"), False),
        ("audience", "nin", ("user", "guest"), True),
        ("audience", "nin", ("user", "admin"), False),
        ("audience", "gt", "aaa", True),
        ("level", "gt", 9.0, True),
        ("level", "gt", "9", True),
        ("level", "gte", 10.0, True),
        ("level", "lt", 9.5, False),
        ("level", "lte", 10.0, True),
        ("level", "eq", 10.0, True),
        ("version", "gt", "1.9", True),
        ("version", "gte", "1.10", True),
        ("version", "lt", "1.9", False),
        ("version", "eq", "1.10.0", True),
        ("version", "in", ("1.9", "1.10"), True),
        ("beta", "eq", True, True),
        ("beta", "eq", False, False),
        ("missing", "eq", "x", False),
        ("missing", "ne", "x", True),
        ("missing", "nin", ("x",), True),
        ("missing", "gt", "x", False),
        ("missing", "in", ("x",), False),
    ],
)
def test_every_operator(
    field: str, operator: Operator, value: Value | tuple[Value, ...], is_so: bool
) -> None:
    assert holds(Condition(field, operator, value), FACTS) is is_so


def test_conditions_hold_together() -> None:
    yes, no = Condition("audience", "eq", "admin"), Condition("audience", "eq", "user")
    assert holds(Together("all", (yes, yes)), FACTS)
    assert not holds(Together("all", (yes, no)), FACTS)
    assert holds(Together("any", (no, yes)), FACTS)
    assert not holds(Together("any", (no, no)), FACTS)
    assert holds(Together("all", (Together("any", (no, yes)), yes)), FACTS)


def test_a_pages_own_attributes_never_hide_the_indexs() -> None:
    group = Group(0, "Acme", "2.0", "en", (("version", "9"), ("audience", "admin")))
    assert group.facts()["version"] == "2.0"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(product="Gamma"), "product 'Gamma': this index holds Acme Pump, Beta Valve"),
        (Wanted(version="3.0"), "version '3.0': this index holds 1.9, 1.10, 2.0, 7"),
        (Wanted(language="fr"), "language 'fr': this index holds de, en"),
        (Wanted(product="Beta Valve", version="1.9"), "version '1.9': this index holds 7"),
        (
            Wanted(where=Condition("colour", "eq", "red")),
            "field 'colour': this index has audience, language, level, product, version",
        ),
        (
            Wanted(where=Together("any", (Condition("colour", "nin", ("red",)),))),
            "field 'colour'",
        ),
    ],
)
def test_what_no_page_has_is_refused_and_what_they_have_is_named(
    ask: Ask, wanted: Wanted, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=r"^[^\n]+$") as caught:
        ask("release", wanted)
    assert says in str(caught.value)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_a_value_that_no_page_has_finds_nothing(ask: Ask, mode: str) -> None:
    for field, value in (("audience", "nobody"), ("version", "4")):
        found = ask("release", Wanted(where=Condition(field, "eq", value)), mode=mode)
        assert (found.passages, found.errors) == ((), ())


@pytest.mark.parametrize("mode", ["hybrid", "dense", "keyword"])
def test_values_that_no_page_has_together_find_nothing(ask: Ask, mode: str) -> None:
    where = Together("all", (Condition("audience", "eq", "admin"), Condition("level", "gt", 99.0)))
    found = ask("release", Wanted(where=where), mode=mode)
    assert (found.passages, found.errors, found.best_score) == ((), (), 0.0)


def test_one_known_value_of_several_is_enough(ask: Ask) -> None:
    where = Condition("audience", "in", ("nobody", "admin"))
    assert {p.title for p in ask("release", Wanted(where=where), k=20).passages} == {"News"}


def test_groups_that_are_allowed_are_limited_on_their_own() -> None:
    groups = [
        Group(n, product, version, "en", ())
        for n, (product, version) in enumerate(
            [("Acme", "1.9"), ("Acme", "1.10"), ("Beta", "3"), ("Beta", "4")]
        )
    ]
    assert groups_of(Wanted(version="latest"), groups) == {1, 3}
    assert groups_of(Wanted(version="1.9"), groups) == {0}
    scopes = Scopes(groups)
    assert scopes.of("Acme 1.9", Wanted(), "latest") == {0, 3}
    assert scopes.of("Acme 1.9 and Beta 3", Wanted(), "latest") == {0, 2}
    assert scopes.of("any", Wanted(product="acme"), "latest") == {1}
    assert scopes.of("any", Wanted(), "all") == frozenset(range(4))
    assert scopes.of("any", Wanted(), "1.9") == {0, 3}
    assert scopes.of("any", Wanted(), "1.9") is scopes.of("other", Wanted(), "1.9")
    assert Scopes(()).of("any", Wanted(), "latest") == frozenset()
    with pytest.raises(InvalidRequestError, match="holds Acme, Beta"):
        scopes.of("any", Wanted(product="Gamma"), "latest")


def test_more_groups_than_are_asked_for_by_name(tmp_path: Path) -> None:
    many = {
        f"page{n}.md": f"---\nnumber: {n}\n---\n# Page {n}\n\nThe valve{n} is behind the pump."
        for n in range(150)
    }
    build(about(written(tmp_path / "docs", many)), tmp_path / "index")
    ask = asks(tmp_path / "index")
    where = Condition("number", "lt", 100.0)
    found = ask("valve149 behind the pump valve7", Wanted(where=where), k=50)
    assert all(int(passage.attributes["number"]) < 100 for passage in found.passages)
    assert found.passages[0].attributes["number"] == "7"


def test_the_index_says_which_releases_it_holds(directory: Path) -> None:
    releases = {release.name: release.passages for release in read_manifest(directory).releases}
    assert releases == {
        "Acme Pump 1.9": 3,
        "Acme Pump 1.10": 3,
        "Acme Pump 2.0": 3,
        "Acme Pump 2.0 (de)": 1,
        "Beta Valve 7": 1,
    }
