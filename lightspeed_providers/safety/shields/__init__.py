"""The kinds of shields; a new kind is one file beside this one and one line here."""

from lightspeed_providers.safety.shields.base import ShieldOptions
from lightspeed_providers.safety.shields.patterns import PatternsOptions
from lightspeed_providers.safety.shields.question_validity import QuestionValidityOptions
from lightspeed_providers.safety.shields.redaction import RedactionOptions

SHIELDS: dict[str, type[ShieldOptions]] = {
    "patterns": PatternsOptions,
    "redaction": RedactionOptions,
    "question_validity": QuestionValidityOptions,
}
