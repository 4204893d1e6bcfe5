"""Profiles from names, paths and what stands in the run configuration itself."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from lightspeed_providers.core.errors import ConfigurationError
from lightspeed_providers.responses.profiles.config import ProfileConfig
from lightspeed_providers.responses.profiles.sources import (
    BrokenProfilesError,
    Fault,
    Place,
    ProfileFaults,
    Source,
    dotted,
    read_mapping,
)

SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[\w.-]+")
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class LoadedProfile:
    """A profile, and where it was written."""

    config: ProfileConfig
    source: Source


def loaded_profiles(
    entries: Sequence[str | ProfileConfig],
    places: Sequence[Path],
    inline: Callable[[int], Source] | None = None,
) -> tuple[LoadedProfile, ...]:
    """Return the profiles of names, files, directories and those that are given already.

    A name is looked up in each place; `inline` tells where those given already stand. Raises a
    `ConfigurationError` with the first fault's file and line.
    """
    loaded: list[LoadedProfile] = []
    faults: list[Fault] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, ProfileConfig):
            loaded.append(LoadedProfile(entry, (inline or inline_source)(number)))
            continue
        for file in _files(entry, places):
            try:
                loaded.append(read_profile(file))
            except ProfileFaults as found:
                faults += found.faults
    faults += _named_twice(loaded)
    if faults:
        raise BrokenProfilesError(faults)
    return tuple(loaded)


def read_profile(file: Path) -> LoadedProfile:
    """Return the profile in a file, named after it where it has no name of its own.

    Raises `ProfileFaults` with all that is wrong in it.
    """
    content, source = read_mapping(file)
    config = validated({"name": file.stem, **content}, source)
    return LoadedProfile(with_prompt_of_file(config, source), source)


def inline_source(number: int) -> Source:
    """Return the place of a profile that stands in the run configuration itself."""
    return Source(f"profiles[{number}] in the run configuration")


def inline_profile(content: Mapping[str, Any], source: Source) -> ProfileConfig:  # Any: YAML
    """Return a profile that stands in the run configuration, or raise a `ConfigurationError`."""
    try:
        return with_prompt_of_file(validated(content, source), source)
    except ProfileFaults as found:
        raise BrokenProfilesError(found.faults) from None


def validated(content: Mapping[str, Any], source: Source) -> ProfileConfig:  # Any: YAML
    """Return the profile that some fields make, or raise `ProfileFaults`."""
    try:
        return ProfileConfig.model_validate(content)
    except ValidationError as invalid:
        # The input stays out: only what is shown of it below is quoted.
        faults = [_fault(error, source) for error in invalid.errors(include_url=False)]
        raise ProfileFaults(sorted(faults, key=lambda f: f.line or 0)) from None


def with_prompt_of_file(config: ProfileConfig, source: Source) -> ProfileConfig:
    """Return the profile with the text of its prompt's file."""
    named = config.system_prompt_file
    if named is None:
        return config
    place = ("system_prompt_file",)
    if config.system_prompt is not None:
        said = "give `system_prompt` or `system_prompt_file`, not both"
        raise ProfileFaults([source.fault(place, said)])
    path = named.expanduser()
    if not path.is_absolute():
        if source.folder is None:
            said = f"'{named}' is relative to no file: give an absolute path"
            raise ProfileFaults([source.fault(place, said)])
        path = source.folder / path
    try:
        text = path.read_text("utf-8").rstrip()
    except OSError as fault:
        reason = (fault.strerror or type(fault).__name__).lower()
        raise ProfileFaults([source.fault(place, f"'{path}' can't be read ({reason})")]) from fault
    except UnicodeDecodeError as fault:
        raise ProfileFaults([source.fault(place, f"'{path}' is not UTF-8")]) from fault
    if not text:
        raise ProfileFaults([source.fault(place, f"'{path}' is empty: write the prompt into it")])
    return config.model_copy(update={"system_prompt": text, "system_prompt_file": path})


def _files(entry: str, places: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that an entry means."""
    path = Path(entry).expanduser()
    if _NAME.fullmatch(entry) and path.suffix not in SUFFIXES:
        yield _named(entry, places)
    elif path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
        if not found:
            raise ConfigurationError(
                f"Directory '{path}' in `profiles` holds no profile: put NAME.yaml into it."
            )
        yield from found
    elif path.exists():
        yield path
    else:
        raise ConfigurationError(
            f"File '{path}' in `profiles` does not exist: correct the path, or give a name."
        )


def _named(name: str, places: Sequence[Path]) -> Path:
    for place in places:
        for suffix in SUFFIXES:
            if (file := place / f"{name}{suffix}").is_file():
                return file
    there = sorted({p.stem for d in places if d.is_dir() for p in d.iterdir() if _is_profile(p)})
    choose = f", or choose from {', '.join(there)}" if there else ""
    raise ConfigurationError(
        f"Profile '{name}' in `profiles` does not exist: "
        f"write it to '{places[0] / name}.yaml'{choose}."
    )


def _is_profile(path: Path) -> bool:
    return path.suffix in SUFFIXES


def _named_twice(loaded: Sequence[LoadedProfile]) -> Iterator[Fault]:
    first: dict[str, LoadedProfile] = {}
    for one in loaded:
        name = one.config.name
        if name not in first:
            first[name] = one
            continue
        other = first[name].source
        yield one.source.fault(
            ("name",), f"a profile of the name '{name}' is in {other.name} already: give another"
        )


def _fault(error: Any, source: Source) -> Fault:  # Any: pydantic's details of an error
    place: Place = tuple(part for part in error["loc"] if part != "[key]")
    match error["type"]:
        case "extra_forbidden":
            said = f"unknown field `{dotted(place)}`: {_instead(place)}"
        case "missing":
            said = f"`{dotted(place)}` is missing"
        case "value_error":
            said = f"`{dotted(place)}`: {error['ctx']['error']}"
        case "string_type" if isinstance(error["input"], int | float):
            said = f"`{dotted(place)}` must be text: put {error['input']} in quotes"
        case _:
            must = error["msg"].removeprefix("Input ").replace("should", "must", 1)
            said = f"`{dotted(place)}` {must}, not {_shown(error['input'])}"
    return source.fault(place, said)


def _instead(place: Place) -> str:
    """Say which field may have been meant."""
    known = _fields_of(place[:-1])
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"did you mean `{close[0]}`?" if close else f"choose from {', '.join(sorted(known))}"


def _fields_of(place: Place) -> list[str]:
    model: type[BaseModel] = ProfileConfig
    for part in place:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _shown(value: Any) -> str:  # Any: YAML
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
