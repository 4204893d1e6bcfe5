"""Writes a text anew that comes in parts, with placeholders for what was found."""

from collections import Counter

from lightspeed_providers.safety.shields.redacting.entities import PLACEHOLDER
from lightspeed_providers.safety.shields.redacting.find import Found, RuleSet, Search
from lightspeed_providers.safety.shields.redacting.numbers import Digest, Numbers


class Rewriter:
    """Takes a text in parts and returns what of the new text is decided."""

    def __init__(self, rules: RuleSet, numbers: Numbers) -> None:
        self._search = Search(rules)
        self._numbers = numbers
        self._written = 0
        """How much of the search's data has gone on or is part of a value that goes on."""
        self._value: Digest | None = None
        """What there is of a value that goes on."""

    @property
    def held(self) -> bytes:
        """What came and is neither written nor part of a value that goes on."""
        return self._search.data[self._written :]

    def push(self, data: bytes, *, final: bool) -> tuple[bytes, Counter[str]]:
        """Return the new text that is decided, and how many values of each label it stands for."""
        search, pieces, replaced = self._search, list[bytes](), Counter[str]()
        search.push(data, final=final)
        for found in search.found_before_decided:
            if self._value is None:
                pieces.append(self._taken(found.start))
            if found.end is None or (found.end > search.decided and self._value is not None):
                self._begun(found).update(self._taken(search.decided))
                break
            if found.end > search.decided:
                break
            pieces.append(self._replacement(found, replaced))
        else:
            pieces.append(self._taken(search.decided))
        self._written -= search.let_go(self._written)
        return b"".join(pieces), replaced

    def _taken(self, upto: int) -> bytes:
        taken = self._search.data[self._written : upto]
        self._written = max(self._written, upto)
        return taken

    def _begun(self, found: Found) -> Digest:
        if self._value is None:
            self._value = self._numbers.digest(found.rule.label)
        return self._value

    def _replacement(self, found: Found, replaced: Counter[str]) -> bytes:
        """Return what is written for a value that has ended."""
        label = found.rule.label
        value = self._taken(found.end or 0)
        if found.rule is PLACEHOLDER:
            known, number = value[1:-1].decode().split("_")
            self._numbers.taken(known, int(number))
            return value
        digest = self._begun(found)
        digest.update(found.rule.identity(value))
        self._value = None
        replaced[label] += 1
        return b"<%s_%d>" % (label.encode(), self._numbers.number(label, digest))
