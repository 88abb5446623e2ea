"""Find secrets in text, in whatever form a page or an address writes them, and replace them by `<secret>`.

A secret is a value in all its forms: other case, grouped by blanks or dashes, cut short by a field's maxlength, percent-encoded
as any of the usual functions do it, escaped for JSON or HTML, in base64, base32 or character codes. Text is compared
after the same folding on both sides, with a map back to where each folded character came from.
"""

from __future__ import annotations

import base64
import codecs
import html
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from molmo_agents.outcome import Outcome
from molmo_agents.policy import Confirmation
from molmo_agents.risk import LOOKALIKES

HIDDEN = "<secret>"

SHORT = 4
"""Secrets of fewer folded characters are found as they are written only: "1 2" is not "12"."""

STRETCH = 8
"""Shortest part of a secret that is hidden where the rest is missing, characters; and never less than 60 % of it."""

BEGINNING = 7
"""The same for its beginning, which is what a maxlength leaves; and never less than half of it."""

OWN = frozenset(["status", "verb", "kind", "in_shadow", "timings", "artefacts"])
"""Fields of an outcome that hold words of ours."""

_CODE = re.compile(
    r"(?P<bytes>(?:%[0-9a-fA-F]{2})+)|%u(?P<escape>[0-9a-fA-F]{4})|\\u(?P<json>[0-9a-fA-F]{4})"
    r"|\\x(?P<hex>[0-9a-fA-F]{2})|\\u\{(?P<point>[0-9a-fA-F]{1,6})\}"
    r"|(?P<entity>&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});)|\\(?P<plain>[\"\\/])|(?P<blank>\+)"
)
Span = tuple[int, int]
Mapped = tuple[str, list[Span]]
"""Text, and for each of its characters the span of the original that it stands for."""


class SecretRedactor:
    """Knows some secrets and hides them; without any it changes nothing."""

    def __init__(self, secrets: Iterable[str]) -> None:
        values = [secret for secret in dict.fromkeys(secrets) if secret]
        self._exact = sorted(
            (value for value in values if len(fold(value)[0]) < SHORT), key=len, reverse=True
        )
        self._forms = [
            form
            for value in values
            if len(folded := fold(value)[0]) >= SHORT
            for form in (folded, folded[::-1], *_encoded(value))
        ]

    def __bool__(self) -> bool:
        return bool(self._exact or self._forms)

    def spans(self, text: str) -> list[Span]:
        """Return where secrets are in `text`: sorted spans that do not touch each other."""
        found: list[Span] = []
        if self and text:
            # Encoded twice is common: an address in the query of another.
            view: Mapped = (text, [(i, i + 1) for i in range(len(text))])
            for _ in range(3):
                found += self._in(view)
                once = _decoded(view)
                if once[0] == view[0]:
                    break
                view = once
        return _joined(found)

    def text(self, text: str) -> str:
        """Return `text` with every secret replaced by `<secret>`."""
        for start, end in reversed(self.spans(text) if self else []):
            text = text[:start] + HIDDEN + text[end:]
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON-like value with every string in it masked; names of fields stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: item if key in OWN else self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def outcome(self, outcome: Outcome) -> Outcome:
        """Return an outcome that shows no secret; the same one where there is none to show."""
        if not self:
            return outcome
        plain = outcome.model_dump(mode="json")
        return Outcome.model_validate(self.value(plain)).with_(screenshot=outcome.screenshot)

    def confirmation(self, question: Confirmation) -> Confirmation:
        """Return a question whose texts show no secret; a callback may put them before anybody."""
        return replace(
            question,
            name=self.text(question.name),
            role=self.text(question.role),
            query=self.text(question.query),
            url=self.text(question.url),
            href=self.text(question.href),
            detail=self.text(question.detail),
        )

    def _in(self, view: Mapped) -> list[Span]:
        found: list[Span] = []
        for exact in self._exact:
            found += [
                (view[1][match.start()][0], view[1][match.end() - 1][1])
                for match in re.finditer(re.escape(exact), view[0], _case(exact))
            ]
        folded, origin = fold(*view)
        for form in self._forms:
            for start, end in _stretches(form, folded):
                found.append((origin[start][0], origin[end - 1][1]))
        return found


def fold(text: str, origin: list[Span] | None = None) -> Mapped:
    """Return text without case, accents, blanks, punctuation, signs and invisible characters, look-alike letters in Latin.

    >>> fold("4111 2222-3333")[0]
    '411122223333'
    """
    letters: list[str] = []
    places: list[Span] = []
    for index, char in enumerate(text):
        for part in unicodedata.normalize("NFKD", char).casefold():
            kind = unicodedata.category(part)
            if kind[0] in "ZMCP" or (kind[0] == "S" and kind != "So"):
                # Blanks, marks, invisible characters, punctuation, signs; an emoji is a letter.
                continue
            letters.append(part.translate(LOOKALIKES))
            places.append(origin[index] if origin is not None else (index, index + 1))
    return "".join(letters), places


def _encoded(value: str) -> list[str]:
    """The folded forms in which nothing of the value itself is left, of the value also in one case and backwards.

    Base64 (once, and twice) at each of its three alignments, base32, character codes to the usual bases, letters moved by 13;
    each of them also backwards.
    """
    forms: list[str] = []
    for text in dict.fromkeys((value, value.upper(), value.lower(), value[::-1])):
        raw = text.encode()
        forms += [
            "".join(format(byte, kind) for byte in raw)
            for kind in ("02x", "#x", "o", "03o", "08b")
        ]
        forms += ["".join(format(ord(char), kind) for char in text) for kind in ("d", "04x")]
        forms += [base64.b32encode(raw).decode().rstrip("="), codecs.encode(text, "rot13")]
        once = _aligned(raw) + _aligned(text.encode("utf-16-le"))
        forms += once + _aligned(base64.b64encode(raw))
    forms += [form.replace("+", "-").replace("/", "_") for form in forms]
    folded = [fold(form)[0] for form in forms]
    known = dict.fromkeys(form for form in folded if len(form) > SHORT)
    return list(dict.fromkeys([*known, *(form[::-1] for form in known)]))


def _aligned(raw: bytes) -> list[str]:
    """Base64 of `raw` behind none, one and two other bytes; what the neighbours share a character with is not its own."""
    found: list[str] = []
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode()
        own = coded[-(-shift * 8 // 6) :].rstrip("=")
        found.append(own if (shift + len(raw)) % 3 == 0 else own[:-1])
    return [base64.b64encode(raw).decode().rstrip("="), *found]


def _case(value: str) -> re.RegexFlag:
    """A value of very few letters is found as it is written only."""
    return re.IGNORECASE if len(value) >= SHORT else re.RegexFlag(0)


def _stretches(form: str, text: str) -> list[Span]:
    """Return the spans of `text` that hold `form`, or a part of it that is long enough to count."""
    found: list[Span] = []
    least = len(form) if len(form) < STRETCH else max(STRETCH, -(-len(form) * 3 // 5))
    first = len(form) if len(form) < STRETCH else max(BEGINNING, -(-len(form) // 2))
    # Whatever is long enough holds one of these blocks whole: most texts are done with here.
    block = max(1, min(first, least) // 2)
    if not any(form[at : at + block] in text for at in range(0, len(form) - block + 1, block)):
        return found
    for offset in range(len(form) - min(first, least) + 1):
        part = form[offset : offset + (first if offset == 0 else least)]
        if offset and len(part) < least:
            break
        at = text.find(part)
        while at >= 0:
            end = at + len(part)
            while (
                end < len(text)
                and end - at + offset < len(form)
                and text[end] == form[end - at + offset]
            ):
                end += 1
            found.append((at, end))
            at = text.find(part, end)
    return found


def _decoded(view: Mapped) -> Mapped:
    """Undo one round of percent, JSON and HTML escapes."""
    text, origin = view
    letters: list[str] = []
    places: list[Span] = []
    at = 0
    for match in _CODE.finditer(text):
        letters += text[at : match.start()]
        places += origin[at : match.start()]
        whole = (origin[match.start()][0], origin[match.end() - 1][1])
        plain = _plain(match)
        letters += plain
        places += [whole] * len(plain)
        at = match.end()
    return "".join([*letters, text[at:]]), [*places, *origin[at:]]


def _plain(match: re.Match[str]) -> str:
    kind, found = match.lastgroup or "", match.group(match.lastgroup or 0)
    if kind == "bytes":
        raw = bytes.fromhex(found.replace("%", ""))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            # JavaScript's escape() writes Latin-1.
            return raw.decode("latin-1")
    if kind in ("escape", "json", "hex", "point"):
        code = int(found, 16)
        return chr(code) if code <= 0x10FFFF else ""
    if kind == "entity":
        return html.unescape(found)
    return " " if kind == "blank" else found


def _joined(spans: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
