"""Which actions are risky, from what the element calls itself, where it leads and what it is part of.

Words in English, German, French, Spanish, Italian, Portuguese and Dutch. A list can never be complete, so the policy's
other halves (origins, secrets, dry run) do not lean on it. Reading these words can only ever *add* a question to the
caller: nothing on the page can take one away.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_WORDS = {
    "buy": "buy purchase order checkout subscribe bid kaufen kaufe bestellen bestelle acheter commander comprar acquista"
    " ordina kopen bestel",
    "pay": "pay payment donate transfer withdraw bezahlen zahlen zahlung ueberweisen uberweisen payer virement pagar paga"
    " transferir betalen",
    "delete": "delete remove erase destroy discard deactivate unsubscribe wipe purge terminate loschen loesche losche"
    " entfernen supprimer effacer eliminar borrar elimina rimuovi excluir apagar verwijder verwijderen",
    "send": "send submit post publish tweet share reply invite apply transmit confirm senden absenden abschicken"
    " veroffentlichen envoyer publier enviar publicar invia pubblica verzenden versturen bestatigen confirmer confirmar",
    "permission": "grant authorize authorise allow install erlauben zulassen autoriser permitir",
}
_PHRASES = {
    "buy": ("place order", "check out", "add card", "in den warenkorb legen und kaufen"),
    "delete": (
        "empty trash",
        "close account",
        "cancel subscription",
        "move to trash",
        "factory reset",
    ),
    "pay": ("card number",),
}
_PATTERNS = {
    risk: re.compile(
        r"(?<![a-z])(?:"
        + "|".join([*words.split(), *(re.escape(p) for p in _PHRASES.get(risk, ()))])
        + r")(?:s|ing|ed|n)?(?![a-z])"
    )
    for risk, words in _WORDS.items()
}
_SPELLED = re.compile(r"(?<!\S)(?:\S ){2,}\S(?!\S)")
"""Letters with a blank between each two."""

LOOKALIKES = str.maketrans(
    "\u0430\u0432\u0435\u0456\u0458\u043a\u043c\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0501\u0261\u04cf"
    "\u03b1\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7",
    "abeijkmopctyxsdgl" + "aeikvoptux",
)
"""Cyrillic and Greek letters, folded, and the Latin ones they look like."""

_MESSAGE = re.compile(
    r"(?<![a-z])(?:message|chat|reply|comment|answer|tweet|post|nachricht|kommentar|antwort\w*|commentaire|mensaje"
    r"|comentario|messaggio|commento|mensagem|bericht|reactie)(?![a-z])"
)
_CODES = (
    "eur|usd|gbp|chf|jpy|cny|rmb|inr|brl|cad|aud|nzd|sek|nok|dkk|pln|czk|huf|krw|mxn|kr|z\u0142|k[c\u010d]|euros?|dollars?|francs?"
    "|rupees?|yen"
)
_SIGNS = "[$\u00a3\u00a4\u00a5\u0e3f\u20a0-\u20c0]"
_PRICE = re.compile(
    rf"(?:{_SIGNS}|(?<![^\W_])(?:{_CODES})(?![^\W\d_]))\s?\d|\d[\d.,]*\s?(?:{_SIGNS}|(?:{_CODES})(?![^\W\d_]))"
)
"""An amount with its currency, in a folded text."""


@dataclass(frozen=True)
class Facts:
    """What the page says about one element, gathered without judging it.

    Attributes:
        texts: Accessible name, visible text, title, value, alternative texts.
        role: ARIA role.
        input_type: `type` of an input or button, lower case.
        submits: It submits a form.
        form_texts: Texts of the form's submit buttons, for fields in which Enter submits; without a form, of the buttons beside.
        form_password: The form holds a filled password field.
        form_card: The form asks for a payment card.
        form_method: "get", "post" or "".
        editor: It takes several lines (a text area, an editor): where Enter does more there, it sends.
    """

    texts: tuple[str, ...] = ()
    role: str = ""
    input_type: str = ""
    submits: bool = False
    form_texts: tuple[str, ...] = ()
    form_password: bool = False
    form_card: bool = False
    form_method: str = ""
    editor: bool = False


def fold(text: str) -> str:
    """Return `text` without accents, case, invisible characters and repeated blanks, so that look-alike writings meet.

    >>> fold("  LÖSCHEN\\u200b ")
    'loschen'
    """
    decomposed = unicodedata.normalize("NFKD", text)
    kept = "".join(
        " " if char.isspace() else char
        for char in decomposed
        if char.isspace() or unicodedata.category(char) not in ("Mn", "Cf", "Cc")
    )
    return " ".join(kept.casefold().split())


def risks_of(verb: str, facts: Facts) -> frozenset[str]:
    """Return the kinds of risk that doing `verb` to such an element carries.

    Args:
        verb: click, type, submit (typing that ends with Enter), select, check, upload, drag.
        facts: What is known of the element.
    """
    if verb in ("hover", "scroll_to"):
        return frozenset()
    found: set[str] = set()
    if verb == "upload" or (verb == "click" and facts.input_type == "file"):
        found.add("file")
    if verb in ("type", "submit") and facts.input_type == "password":
        found.add("password")
    if verb == "type":
        # A search field labelled "Delete ..." is not pressed: what is typed is not sent yet.
        return frozenset(found)
    texts = facts.texts + (facts.form_texts if verb == "submit" or facts.submits else ())
    for text in map(fold, texts):
        found |= _named(text)
        if facts.submits and _PRICE.search(text):
            found.add("pay")
    if verb == "submit" and (facts.editor or any(map(_MESSAGE.search, map(fold, facts.texts)))):
        found.add("send")
    if facts.submits or verb == "submit":
        if facts.form_password:
            found.add("password")
        if facts.form_card:
            found.add("pay")
    return frozenset(found)


def _named(text: str) -> set[str]:
    """The risks that a folded text names, also in look-alike letters and letter by letter."""
    latin = text.translate(LOOKALIKES)
    found = {risk for risk, pattern in _PATTERNS.items() if pattern.search(latin)}
    spelled = " ".join(run.replace(" ", "") for run in _SPELLED.findall(latin))
    if spelled:
        # Where one word ends and the next begins is lost.
        found |= {
            risk
            for risk, words in _WORDS.items()
            if any(len(word) > 2 and word in spelled for word in words.split())
        }
    return found


def calm(text: str) -> str:
    """A label without the numbers that count on by themselves; a price stays as it is."""
    return text if _PRICE.search(text.casefold()) else re.sub(r"\d+", "0", text)
