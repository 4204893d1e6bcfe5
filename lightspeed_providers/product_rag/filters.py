"""Which releases and documents a search may find."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lightspeed_providers.core.errors import InvalidRequestError
from lightspeed_providers.product_rag.index.content import Group
from lightspeed_providers.product_rag.index.versions import latest, matching_version, version_key

LATEST = "latest"
ALL = "all"

Value = str | float | bool
Operator = Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One field compared with a value; versions compare as versions, numbers as numbers."""

    field: str
    operator: Operator
    value: Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Together:
    """Conditions of which all or any must hold."""

    needs: Literal["all", "any"]
    of: tuple["Where", ...]


Where = Condition | Together


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a search is limited to; None leaves a field open.

    A version may be `latest`, `all`, one that is held, a release of one (5.2.19 is within 5.2), or
    a series (5 means the highest 5.x).
    """

    product: str | None = None
    version: str | None = None
    language: str | None = None
    where: Where | None = None


def groups_of(wanted: Wanted, groups: Sequence[Group]) -> frozenset[int]:
    """Return the groups that a search may find; refuse what no group has."""
    chosen = _having("product", wanted.product, groups)
    chosen = _having("language", wanted.language, chosen)
    chosen = _of_version(wanted.version, chosen)
    if wanted.where is not None:
        _check_fields(wanted.where, groups)
        chosen = [group for group in chosen if holds(wanted.where, group.facts())]
    return frozenset(group.number for group in chosen)


def holds(where: Where, facts: Mapping[str, str]) -> bool:
    """Whether a condition holds for these facts; a missing field is unequal to everything."""
    if isinstance(where, Together):
        each = (holds(part, facts) for part in where.of)
        return all(each) if where.needs == "all" else any(each)
    held = facts.get(where.field)
    values = where.value if isinstance(where.value, tuple) else (where.value,)
    if where.operator in ("ne", "nin"):
        return held is None or all(_compared(where.field, held, value) != 0 for value in values)
    if held is None:
        return False
    if where.operator in ("eq", "in"):
        return any(_compared(where.field, held, value) == 0 for value in values)
    order = _compared(where.field, held, values[0])
    return {"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[where.operator]


def names_version(where: Where | None) -> bool:
    """Whether a filter says which versions are meant."""
    if isinstance(where, Together):
        return any(names_version(part) for part in where.of)
    return where is not None and where.field == "version"


def named_versions(question: str, product: str, held: Iterable[str]) -> tuple[str, ...]:
    """Return which of a product's versions a question names, such as 5.2 in `in Acme 5.2`.

    A number that follows another name, such as Python 3.12, is not meant; one without a dot is,
    where it follows the product's name or the word version and is held.
    """
    text, every = question.lower(), list(held)
    names = {*product.lower().split(), *_A_VERSION}
    found: set[str | None] = set()
    is_meant, end = False, -1
    for number in _NUMBER.finditer(text):
        word, version = number[1] or "", number[2]
        goes_on = word in _LISTING and end >= 0 and not text[end : number.start()].strip(" ,/-")
        if not goes_on:
            may_precede = not word or word in _BEFORE_A_VERSION
            is_meant = word in names or ("." in version and may_precede)
        end = number.end()
        if is_meant and ("." in version or version in every):
            found.add(matching_version(version, every))
    return tuple(version for version in every if version in found)


_NUMBER = re.compile(r"(?<![\w.])(?:([a-z][a-z']*)[\s,:/(<>=~^!-]*)?(\d+(?:\.\d+)*)(?!\w|\.\d)")
_LISTING = {"", "and", "or", "to"}
_A_VERSION = {"release", "releases", "v", "version", "versions"}
_BEFORE_A_VERSION = """
    a after and as at back before between but by for from in is latest lts of on or our since than
    the to until upgrade upgrading use using with
""".split()  # noqa: SIM905  # a list would fill the page


def _having(
    field: Literal["product", "language"], value: str | None, groups: Sequence[Group]
) -> list[Group]:
    if value is None:
        return list(groups)
    chosen = [group for group in groups if getattr(group, field).casefold() == value.casefold()]
    if not chosen:
        _refuse(field, value, (getattr(group, field) for group in groups))
    return chosen


def _of_version(version: str | None, groups: Sequence[Group]) -> list[Group]:
    if version in (None, ALL):
        return list(groups)
    held: dict[str, set[str]] = {}
    for group in groups:
        held.setdefault(group.product, set()).add(group.version)
    meant = {
        product: latest(versions)
        if version == LATEST
        else matching_version(version or "", versions)
        for product, versions in held.items()
    }
    chosen = [group for group in groups if group.version == meant[group.product]]
    if not chosen and groups:
        _refuse("version", version or "", (group.version for group in groups))
    return chosen


def _refuse(field: str, value: str, held: Iterable[str]) -> None:
    known = sorted(set(held), key=version_key) if field == "version" else sorted(set(held))
    raise InvalidRequestError(
        f"No documentation of {field} '{value[:80]}': this index holds {', '.join(known[:20])}."
    )


def _check_fields(where: Where, groups: Sequence[Group]) -> None:
    if isinstance(where, Together):
        for part in where.of:
            _check_fields(part, groups)
        return
    known = {name for group in groups for name in group.facts()}
    if where.field not in known:
        raise InvalidRequestError(
            f"Unknown filter field '{where.field[:80]}': this index has "
            f"{', '.join(sorted(known)[:30])}."
        )


def _compared(field: str, held: str, value: Value) -> int:
    """Below, equal or above 0 as the held value is below, equal to or above the asked one."""
    if field == "version":
        one, other = version_key(held), version_key(str(value))
        return (one > other) - (one < other)
    if isinstance(value, bool):
        return 0 if held.casefold() == str(value).casefold() else 1
    try:
        number, asked = float(held), float(value)
    except ValueError:
        text, wanted = held.casefold(), str(value).casefold()
        return (text > wanted) - (text < wanted)
    return (number > asked) - (number < asked)
