"""Read the values of a flow: text, truth values, numbers, each as its field says; what cannot be meant raises `FlowError`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from molmo_agents.errors import FlowError
from molmo_agents.verbs.expect import Expect

Reader = Callable[[object, str], Any]
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def text(value: object, name: str) -> str:
    """Any text, also an empty one."""
    if not isinstance(value, str):
        raise FlowError(f"{name} must be text, got {value!r}")
    return value


def words(value: object, name: str) -> str:
    """A text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise FlowError(f"{name} needs a few words, got {value!r}")
    return value


def truth(value: object, name: str) -> bool:
    """true or false."""
    found = value if isinstance(value, bool) else _TRUTH.get(str(value).lower())
    if found is None:
        raise FlowError(f"{name} must be true or false, got {value!r}")
    return found


def whole(least: int, most: int | None = None) -> Reader:
    """A whole number of at least `least`, at most `most`."""

    def read(value: object, name: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and re.fullmatch(r"[-+]?\d{1,9}", value):
            number = int(value)
        else:
            raise FlowError(f"{name} must be a whole number, got {value!r}")
        if number < least or (most is not None and number > most):
            range_ = f"at least {least}" if most is None else f"{least} to {most}"
            raise FlowError(f"{name} must be {range_}, got {number}")
        return number

    return read


def seconds(value: object, name: str) -> float:
    """A number of seconds, at least 0."""
    try:
        plain = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        number = float(str(value)) if plain else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise FlowError(f"{name} must be a number of seconds, such as 5 or 0.5, got {value!r}")
    return number


def one_of(known: Iterable[str]) -> Reader:
    """One of some words."""
    listed = list(known)

    def read(value: object, name: str) -> str:
        if value not in listed:
            raise FlowError(
                f"{name}: no {name.rsplit(' ', 1)[-1]} {value!r}: known are {', '.join(listed)}"
            )
        return str(value)

    return read


def strings(value: object, name: str) -> tuple[str, ...]:
    """A list of words; nothing at all is an empty one."""
    if value in ("", None):
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise FlowError(f"{name} must be a list of words")
    return tuple(value)


def some(value: object, name: str) -> tuple[str, ...]:
    """One word, or a list with at least one."""
    found = (value,) if isinstance(value, str) and value else strings(value, name)
    if not found:
        raise FlowError(f"{name} must not be empty")
    return found


def expectation(value: object, name: str) -> Expect:
    """What should hold afterwards."""
    if not isinstance(value, Mapping) or not value:
        raise FlowError(f"{name} needs url, text or exists")
    kinds: dict[str, Reader] = {"url": words, "text": words, "exists": words, "timeout_s": seconds}
    known(value, kinds, name)
    return Expect(**{key: kinds[key](item, f"{name}, {key}") for key, item in value.items()})


def known(tree: Mapping[Any, object], allowed: Iterable[str], name: str) -> None:
    """Refuse a word that is not among `allowed`; the nearest one is named."""
    listed = sorted(allowed)
    for key in tree:
        if key not in listed:
            near = difflib.get_close_matches(str(key), listed, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise FlowError(f"{name}: unknown word {key!r}{hint}: known are {', '.join(listed)}")
