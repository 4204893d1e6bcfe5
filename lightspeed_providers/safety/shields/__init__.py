"""The kinds of shields; a new kind is one file beside this one and one line in `SHIELDS`.

base.py     what a shield is
one file a kind, and a package beside it where it takes more than a file:
            matching/, leaking/, redacting/, naming/, topic/, heads/, classifying/
judging_options.py, kept_vectors.py, learnt_once.py, static_embeddings.py, verdict_words.py,
parts.py, microbatch.py
            what several kinds use
"""

from lightspeed_providers.safety.shields.base import ShieldOptions
from lightspeed_providers.safety.shields.classifier import ClassifierOptions
from lightspeed_providers.safety.shields.examples import ExamplesOptions
from lightspeed_providers.safety.shields.llama_guard import LlamaGuardOptions
from lightspeed_providers.safety.shields.moderation import ModerationOptions
from lightspeed_providers.safety.shields.names import NamesOptions
from lightspeed_providers.safety.shields.patterns import PatternsOptions
from lightspeed_providers.safety.shields.prompt_leak import PromptLeakOptions
from lightspeed_providers.safety.shields.question_validity import QuestionValidityOptions
from lightspeed_providers.safety.shields.redaction import RedactionOptions

SHIELDS: dict[str, type[ShieldOptions]] = {
    "patterns": PatternsOptions,
    "redaction": RedactionOptions,
    "names": NamesOptions,
    "question_validity": QuestionValidityOptions,
    "classifier": ClassifierOptions,
    "examples": ExamplesOptions,
    "llama_guard": LlamaGuardOptions,
    "moderation": ModerationOptions,
    "prompt_leak": PromptLeakOptions,
}
