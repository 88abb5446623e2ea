"""Pointings as lines of JSON, one a line: what `molmo-point point --json` and `watch --json` print, and back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Union

from pydantic import ValidationError

from molmo_point.convert.reading import Converted, Findings
from molmo_point.errors import UsageError
from molmo_point.points import Point, Pointing
from molmo_point.text_files import to_utf8

Lines = Union[str, bytes, "os.PathLike[str]", Iterable[Union[str, bytes]]]

_ERROR = "error"
"""The status of a line about a question that failed: it is no answer."""


def to_jsonl(pointings: Pointing | Iterable[Pointing]) -> str:
    """Return one JSON object a line; the inverse of `from_jsonl`."""
    answers = [pointings] if isinstance(pointings, Pointing) else list(pointings)
    return "".join(answer.model_dump_json() + "\n" for answer in answers)


def from_jsonl(source: Lines) -> Converted:
    """Read pointings from lines of JSON.

    Read are the values themselves (`to_jsonl`, the answers of the HTTP service), the lines of `molmo-point point --json` ("image"
    becomes `frame_id`) and publications ("pointing" in them). Fields that are not known here are left out.

    Args:
        source: A file's path as a `Path`, the text or bytes themselves, or an iterable of lines (an open file, `sys.stdin`).

    Returns:
        The pointings, in order; `skipped` names every line that is none, with its number from 1 and the reason.

    Raises:
        UsageError: The file cannot be read, or no line holds a pointing though there are lines.
    """
    report, pointings = Findings(_name(source)), []
    for number, line in enumerate(_lines(source), start=1):
        if not line.strip():
            continue
        try:
            pointings.append(_pointing(line))
        except UsageError as error:
            report.skip(number, error)
    if not pointings and report.skipped:
        raise UsageError(f"no line holds a pointing; {report.skipped[0]}")
    return Converted(pointings, report.skipped)


def _name(source: Lines) -> str:
    return os.fspath(source) if isinstance(source, os.PathLike) else "lines"


def _lines(source: Lines) -> Iterable[str | bytes]:
    if isinstance(source, os.PathLike):
        try:
            return _lines(Path(source).read_bytes())
        except OSError as error:
            raise UsageError(f"{source} cannot be read: {error.strerror}") from error
    # Not splitlines: JSON may hold other line breaks of Unicode inside its strings.
    if isinstance(source, str):
        return source.removeprefix("\ufeff").split("\n")
    if isinstance(source, bytes):
        try:
            return to_utf8(source).split(b"\n")
        except UnicodeDecodeError as error:
            raise UsageError(f"expected text in UTF-8 or UTF-16: {error}") from error
    return source


def _pointing(line: str | bytes) -> Pointing:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"expected a JSON object, got {line[:60]!r} ({error})") from None
    if isinstance(value, Mapping) and isinstance(value.get("pointing"), Mapping):
        value = value["pointing"]
    if not isinstance(value, Mapping):
        raise UsageError(f"expected a JSON object, got {type(value).__name__}")
    if value.get("status") == _ERROR:
        raise UsageError(f"the question failed: {value.get('error')}")
    fields = {name: value[name] for name in Pointing.model_fields if name in value}
    if "image" in value:
        fields.setdefault("frame_id", value["image"])
    if isinstance(fields.get("points"), list):
        fields["points"] = [_known(point) for point in fields["points"]]
    try:
        return Pointing.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "pointing"
        raise UsageError(f"{place}: {first['msg']}, got {repr(first.get('input'))[:60]}") from None


def _known(point: object) -> object:
    if not isinstance(point, Mapping):
        return point
    return {name: point[name] for name in Point.model_fields if name in point}
