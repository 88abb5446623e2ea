"""The noun phrase in a query: 'burgers' in 'Point to the burgers' and in 'How many burgers are there?'.

Every pointing and counting question of Molmo's training is a template filled with a label, a lower-case noun phrase
(docs/molmo.md 5.1), and all templates are equally likely. An instruction that follows a template therefore asks the same as the
prompt of `point_prompt` or `count_prompt` around its label, and the label also names the points. Small models answer common
templates better than rare ones.
"""

from __future__ import annotations

import re

_ARTICLE = r"(?:(?:all (?:of )?the|all occurrences of|every|each|all|any|the|an?) )?"
_PLEASE = r"(?:please |can you (?:please )?|could you (?:please )?)?"
_THING = r"(?P<thing>.+?)"
_IN_IMAGE = r"(?: (?:in|on) (?:the|this) (?:image|picture|photo))?"
_PLACE = rf"(?: (?:are|is) (?:there|visible)| visible| do you see| can you see)?{_IN_IMAGE}"

_INSTRUCTIONS = tuple(
    re.compile(rf"{_PLEASE}{words}[.!?]*", re.IGNORECASE)
    for words in (
        rf"(?:point (?:to and count|to|at|out)|show me where|show me|locate|find|look for|count) {_ARTICLE}{_THING}{_PLACE}",
        rf"(?:where is|where are|where's) {_ARTICLE}{_THING}(?: located)?{_PLACE}",
        rf"(?:tell me )?(?:how many|what is the (?:total )?number of|the number of) {_ARTICLE}{_THING}{_PLACE}",
        rf"(?:is|are) there {_ARTICLE}{_THING}{_IN_IMAGE}",
    )
)
_PLAIN = re.compile(rf"(?:the|an?|all the|all|every|each|any) {_THING}", re.IGNORECASE)
_CLAUSE = re.compile(
    r"\b(?:that|which|who|where|when|if|is|are|was|were|do|does|can|could|should|would|and then)\b",
    re.IGNORECASE,
)


_PLURALS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"))


def noun_phrase(query: str) -> str:
    """Return the noun phrase of a query.

    'Point to the burgers', 'How many burgers are there?' and 'the burgers' give 'burgers'. A query that follows no template, or
    that contains a clause ('Where is the dog that sleeps?'), is returned without outer blanks and otherwise word for word.
    """
    text = query.strip()
    thing = instructed(text)
    if thing is not None:
        return thing
    match = _PLAIN.fullmatch(text)
    if match is not None and not text.endswith("?"):
        return match["thing"].strip()
    return text


def instructed(query: str) -> str | None:
    """Return the noun phrase of an instruction to point or to count; None where the query is no such instruction."""
    for pattern in _INSTRUCTIONS:
        match = pattern.fullmatch(query.strip())
        if match is not None:
            thing = match["thing"].strip(" \"'")
            return thing if thing and not _CLAUSE.search(thing) else None
    return None


def word_forms(word: str) -> set[str]:
    """Return a word in lower case, and its possible singulars: 'buses', 'buse' and 'bus'."""
    word = word.lower()
    return {word} | {
        word[: -len(end)] + singular for end, singular in _PLURALS if word.endswith(end)
    }
