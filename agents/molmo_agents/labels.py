"""What an element is called, and what a query calls it: names, labels in quotes, words that the page confirms.

Whatever is compared was folded: case, accents and invisible characters say nothing.
"""

from __future__ import annotations

import re

from molmo_agents.risk import fold

_DENIES = re.compile(
    r"(?:n't|(?<![a-z])(?:not|no|never|without|dont|nicht|kein\w*|nie|ohne|pas|sans|jamais|sin|nunca|non|senza|mai|nao|sem"
    r"|niet|geen|nooit))(?![a-z])"
)


def same_name(expected: str, names: tuple[str, ...], visible: str = "") -> bool:
    """Whether an element is called `expected`: one of its names is that, after folding, and what it shows does not deny it.

    Signs around the words and a count behind them are no part of a name: "Basket (3)", "Sign in ->". Further words are:
    "Don't save" is not called "Save", nor "Cancel plan" "Cancel". What only a screen reader says must have a word in common
    with what is seen: "Save" over "Make public" is not called "Save".

    Args:
        expected: What the caller expects.
        names: What the element is called: its accessible name, its text, its title.
        visible: The text that it shows.
    """
    wanted = _bare(expected)
    if not wanted or not any(wanted in (_bare(name), _uncounted(name)) for name in names):
        return False
    shown = _bare(visible)
    if shown == wanted:
        return True
    if _DENIES.search(shown) and not _DENIES.search(wanted):
        return False
    # A sign or a single letter (a cross, a bold B) says nothing against a name.
    return sum(map(str.isalnum, shown)) < 2 or akin(wanted, shown)


_KINDS = (
    "button link field checkbox check box radio tab menu item option list switch text input entry"
)
_LABELLED = re.compile(
    rf"""(?:the )?(?:"([^"]+)"|\u201c([^\u201d]+)\u201d)(?: (?:{"|".join(_KINDS.split())})){{0,2}}""",
    re.IGNORECASE,
)


_NAMED = re.compile(rf"[Tt]he ([A-Z]\S*(?: \S+)*?)(?: (?:{'|'.join(_KINDS.split())})){{1,2}}")
"""The label written with a capital letter before the kind of control: the Sign in button."""

_PLACED = re.compile(
    rf"\b(?:in|of|for|on|at|under|near|beside|with|above|below|from|by) (?:the|a|an|this|that|its)\b"
    rf"|\b(?:{'|'.join(_KINDS.split())})\b",
    re.IGNORECASE,
)
"""Words that make it a description of a place rather than a label."""


def label_in(query: str) -> str:
    """Return the label that a query names, where that is all it says besides the kind of control; "" where it says more or other.

    A label stands in quotes, or begins with a capital letter before the kind of control. One of a single letter or of signs
    alone is "" too: the x that closes a dialog is seldom an x in the page.

    >>> label_in('the "Sign in" button'), label_in("the Sign in button"), label_in('the Edit button in the "Bo" row')
    ('Sign in', 'Sign in', '')
    """
    query = query.strip()
    found = _LABELLED.fullmatch(query)
    label = (found[1] or found[2]) if found else ""
    named = _NAMED.fullmatch(query)
    if not label and named and not _PLACED.search(named[1]):
        label = named[1]
    return label if sum(map(str.isalnum, label)) > 1 else ""


def says(label: str, texts: tuple[str, ...]) -> bool:
    """Whether one of an element's texts holds `label`, as whole words, and does not deny it; one without any cannot be asked."""
    bare = _bare(label)
    wanted = re.compile(r"(?<![a-z0-9])" + re.escape(bare) + r"(?![a-z0-9])")
    known = [text for text in map(_bare, texts) if text]
    held = [text for text in known if wanted.search(text)]
    return not known or any(_DENIES.search(bare) or not _DENIES.search(text) for text in held)


def _bare(text: str) -> str:
    """A name without signs at its ends."""
    folded = fold(text).replace("\u2019", "'")
    return re.sub(r"^[^\w$€£¥₹]+|[^\w$€£¥₹]+$", "", folded)


def _uncounted(text: str) -> str:
    """A name without a count behind it; "Page 3" is still another one than "Page 4"."""
    return re.sub(r"\s*\(?\b\d{1,6}\+?\)?$", "", _bare(text))


_UNNAMING = frozenset(
    (
        f"{_KINDS} the a an of in on at to for from by with and or is that which this it its my me icon image picture"
        " arrow symbol toggle dropdown control element area section panel page row column cell line top bottom left right"
        " upper lower middle center centre corner side above below under near beside first second third last click press"
        " tap select choose go use one thing small large big red green blue yellow orange purple pink black white grey"
        " gray dark light"
    ).split()
)
"""Words of a query that say what kind of thing it is, where or how it looks, but not what it is called."""

_ALIKE = 5
"""Letters that two words must begin with alike to be forms of one word."""


def naming_words(query: str) -> tuple[str, ...]:
    """Return the words of a query that name something which a page can say.

    >>> naming_words("the blue button at the top"), naming_words("the Settings link"), naming_words("the 25th of March")
    ((), ('settings',), ('25', 'march'))
    """
    return tuple(word for word in _words(query) if word not in _UNNAMING)


def akin(first: str, second: str) -> bool:
    """Whether two texts have a word in common, in whatever form: "notification" and "Notifications", "sign-in" and "Sign in"."""
    one, two = _words(first), _words(second)
    if any(_forms(a, b) for a in one for b in two):
        return True
    joined = "".join(one), "".join(two)
    least = (
        _ALIKE if all(map(str.isascii, joined)) else 2
    )  # scripts that put no blanks between words
    return min(map(len, joined)) >= least and (joined[0] in joined[1] or joined[1] in joined[0])


def _words(text: str) -> list[str]:
    return [
        re.sub(r"(?<=\d)(?:st|nd|rd|th)$", "", word) for word in re.findall(r"\w+", fold(text))
    ]


def _forms(a: str, b: str) -> bool:
    if a == b:
        return True
    if a.isdigit() or b.isdigit():
        return False
    short = min(len(a), len(b))
    return (short >= 3 and (a.startswith(b) or b.startswith(a))) or (
        short >= _ALIKE and a[:_ALIKE] == b[:_ALIKE]
    )
