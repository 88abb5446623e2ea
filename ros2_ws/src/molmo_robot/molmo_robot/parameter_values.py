"""Values of parameters in the parameter's own type, whatever type a parameter file, rclpy or a command line gave them.

YAML and `-p` guess a type from the looks of a value: `true` for the word, `7` for the query "7", `5` for 5.0. A command line has
text only (`from_text`). The parameter knows what it is; here a value is read as that, and what cannot be comes back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Collection

_BOOLS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}  # fmt: skip


def read(value: object, default: object, choices: Collection[str] = ()) -> object:
    """Return a value in the type of `default`; unchanged where it cannot be read as that.

    Args:
        value: A bool, number, text, or a list of numbers or texts; a single text is no list.
        default: Of the parameter.
        choices: Its words, where only some are allowed.
    """
    if isinstance(default, list):
        return _read_list(value, default)
    if isinstance(default, bool):
        return _BOOLS.get(value.strip().lower(), value) if isinstance(value, str) else value
    if isinstance(default, (int, float)):
        return _read_number(value, type(default))
    return _read_word(value, choices)


def _read_number(value: object, kind: type) -> object:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    if kind is float:
        return float(value)
    return int(value) if value == value and abs(value) < 2**63 and int(value) == value else value


def _read_word(value: object, choices: Collection[str]) -> object:
    if isinstance(value, bool):
        # Where true and false are among the choices the word is known; of free text, `on` and `yes` became True as well.
        word = str(value).lower()
        return word if word in choices else value
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str) and value.strip().lower() in choices:
        return value.strip().lower()
    return value


def _read_list(value: object, default: list[object]) -> object:
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__iter__"):
        return value
    if isinstance(default[0], float):
        return [_read_number(item, float) for item in value]
    return [_read_word(item, ()) for item in value]


def from_text(text: str, default: object) -> object:
    """Return the text of a command line as something that `read` takes for a parameter with that default.

    Lists are `[0, 0, 1]`, `0,0,1`, `["front", "rear"]`, `front,rear` or `front`; a text in JSON's quotes loses them.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = None
    if isinstance(found, str):
        text = found
    if not isinstance(default, list):
        return text
    if isinstance(found, list):
        return found
    inside = text.strip().removeprefix("[").removesuffix("]")
    return [item.strip().strip("\"'") for item in inside.split(",")]
