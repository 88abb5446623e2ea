"""Whether a field holds what was meant, though the page may write it in its own way: (555) 123-4567 for 5551234567.

A page may change case, blanks and signs between letters and digits. It may not add, drop or replace a letter with its marks,
a digit or an emoji. Some signs are no mere signs: a decimal one (12,5 is not 125), a minus before a number, a comparison (< 5),
what ends a word (B+, C#), and one between a few digits (1/2 is not 12; a telephone number has more of them).
"""

from __future__ import annotations

import re
import unicodedata


def holds(meant: str, held: str, kind: str = "") -> bool:
    """Whether `held` is `meant` in the page's own writing.

    Args:
        meant: What the field should hold.
        held: What it holds.
        kind: The `type` of an input, or "".

    >>> holds("5551234567", "(555) 123-4567"), holds("12,5", "125"), holds("1234567890", "1234")
    (True, False, False)
    """
    if _plain(meant) == _plain(held):
        return True
    if kind == "password":
        # Every sign counts in a password.
        return False
    if re.search(r"@|://", meant):
        # Every sign counts in an address, but not the case.
        return _plain(meant).casefold() == _plain(held).casefold()
    numbers = _readings(meant), _readings(held)
    if all(numbers):
        return bool(numbers[0] & numbers[1])
    if _decimal(meant) != _decimal(held) or _signs(meant) != _signs(held):
        return False
    if _few(meant) and not _parted(held):
        return False
    wanted, found = _letters(meant), _letters(held)
    return bool(wanted) and wanted == found


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _letters(text: str) -> str:
    # Powers and fractions are no digits: 10\u00b2 is not 102. Marks are vowels in many scripts.
    folded = "".join(
        char if unicodedata.category(char) == "No" else unicodedata.normalize("NFKC", char)
        for char in unicodedata.normalize("NFC", text)
    )
    kept = unicodedata.normalize("NFC", folded).casefold()
    return "".join(c for c in kept if c.isalnum() or unicodedata.category(c) in ("So", "Mn", "Mc"))


def _readings(text: str) -> frozenset[float]:
    """Every number that `text` may be: 1,000 is a thousand in one country and one in another; none where it is no number."""
    bare = text.strip()
    sign = -1.0 if bare.startswith("-") else 1.0
    digits = re.sub(r"^[-+]?\s*[$€£¥₹]?\s?|\s?[$€£¥₹%]$", "", bare)
    if re.match(r"0\d", digits):
        # Codes and dates keep their zeros.
        return frozenset()
    if not re.fullmatch(r"\d[\d.,' \u00a0\u202f]*|[.,]\d+", digits) or not re.search(
        r"[.,' \u00a0\u202f]", digits
    ):
        # Digits alone are a number only next to one that is written with signs; a telephone number keeps its zeros.
        return (
            frozenset({sign * float(digits)}) if re.fullmatch(r"\d{1,15}", digits) else frozenset()
        )
    found: set[float] = set()
    for point in ".,":
        for group in (",", ".", "'", " ", "\u00a0", "\u202f", ""):
            if group == point:
                continue
            whole, _, part = digits.partition(point)
            if part and not part.isdigit():
                continue
            if (
                group
                and group in whole
                and not re.fullmatch(rf"\d{{1,3}}(?:{re.escape(group)}\d{{3}})+", whole)
            ):
                continue
            joined = whole.replace(group, "") if group else whole
            if joined.isdigit() or (joined == "" and part):
                found.add(sign * float(f"{joined or '0'}.{part or '0'}"))
    return frozenset(found)


def _decimal(text: str) -> bool:
    """Whether a sign between digits may be a decimal one."""
    return len(re.findall(r"\d(?=[.,]\d)", text)) == 1 and not re.search(r"[A-Za-z/]", text)


_MINUS = str.maketrans(dict.fromkeys("\u2012\u2013\u2212\ufe63\uff0d", "-"))


def _signs(text: str) -> list[str]:
    """The signs that say something by themselves: a minus before a number, comparisons, and what ends a word."""
    plain = text.translate(_MINUS)
    return re.findall(
        r"(?<![^\s(])-(?=[.,]?\d)|[<>\u2264\u2265\u2260\u00b1]|(?<=\w)[+#*-]+(?=\s|$)", plain
    )


FEW = 6
"""Fewer digits than this are no telephone number, card or account, whose groups a page writes as it likes."""


def _few(text: str) -> bool:
    """Whether one sign stands between digits of which there are few: a fraction, a range, a time of day."""
    plain = text.translate(_MINUS)
    signs = re.findall(r"\d\s?[/:*^~-](?=\s?\d)", plain)
    return len(signs) == 1 and sum(map(str.isdigit, plain)) < FEW


def _parted(text: str) -> bool:
    return bool(re.search(r"\d\s?[^\w\s]\s?\d", text))
