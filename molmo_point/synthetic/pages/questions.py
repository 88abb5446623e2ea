"""Questions about a page with the controls that answer: by label, role, both, icon, position, and for absent controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molmo_point.markup import count_prompt, point_prompt
from molmo_point.synthetic.letter_classes import letter_targets
from molmo_point.synthetic.pages.labels import Words, draw_label, look_alike
from molmo_point.synthetic.scenes.kinds import Kind, all_kinds
from molmo_point.synthetic.scenes.questions import COUNT_TEMPLATES, POINT_TEMPLATES, Question
from molmo_point.synthetic.scenes.scene import Scene, Thing

CLICK_TEMPLATES = ("Click {}", "Click on {}.", "Press {}.", "Point to {}")


@dataclass(frozen=True)
class PageQuestions:
    """How questions about pages are drawn.

    Attributes:
        absent: Probability that a question asks for something absent.
        alike: Share of absent labels that look like one on the page.
        roles: Probability that all controls of one role are asked for, for points or a count.
        positions: Probability that the first or last control of a role is asked for.
        plain: Probability of the wording that `molmo_point.markup` uses.
        quoted: Probability that a label stands in quotation marks, as in: the "Save" button.
    """

    absent: float = 0.35
    alike: float = 0.4
    roles: float = 0.1
    positions: float = 0.06
    plain: float = 0.85
    quoted: float = 0.2


def draw_page_questions(
    page: Scene, rng: np.random.Generator, count: int, style: PageQuestions, words: Words
) -> list[Question]:
    """Draw `count` different questions; fewer where the page has too few controls.

    Args:
        words: Set of words of absent labels.
    """
    asker = _Asker(page, rng, style, words)
    found: dict[tuple[str, str], Question] = {}
    for _ in range(6 * count):
        if len(found) >= count:
            break
        absent = not asker.whole or rng.random() < style.absent
        question = asker.absent() if absent else asker.present()
        if question is not None:
            found.setdefault((question.mode, question.query.lower()), question)
    return list(found.values())


class _Asker:
    """Asks about one page."""

    def __init__(
        self, page: Scene, rng: np.random.Generator, style: PageQuestions, words: Words
    ) -> None:
        self._page = page
        self._rng = rng
        self._style = style
        self._words = words
        self.whole = [index for index, thing in enumerate(page.things) if thing.visible > 0]

    def present(self) -> Question | None:
        """Ask for a present control."""
        rng = self._rng
        index = self.whole[int(rng.integers(len(self.whole)))]
        thing = self._page.things[index]
        draw = rng.random()
        same = [i for i, other in enumerate(self._page.things) if other.kind == thing.kind]
        if thing.kind.family == "icon":
            return self._worded(self._name(thing.kind, False), tuple(same), "icon")
        if any(self._page.things[i].visible == 0 for i in same):
            return self._labelled(index, thing)
        if draw < self._style.roles and len(same) <= 8:
            counting = bool(rng.random() < 0.4)
            several = counting or len(same) > 1
            return self._worded(self._name(thing.kind, several), tuple(same), "role", counting)
        if draw < self._style.roles + self._style.positions and len(same) > 1:
            order = sorted(same, key=lambda i: self._place(self._page.things[i]))
            last = bool(rng.random() < 0.5)
            words = f"{'last' if last else 'first'} {self._name(thing.kind, False)}"
            return self._worded(words, (order[-1] if last else order[0],), "position")
        return self._labelled(index, thing)

    def _labelled(self, index: int, thing: Thing) -> Question | None:
        """Ask by label; all controls with the same text answer."""
        if not thing.text:
            return None
        same = tuple(
            i
            for i, other in enumerate(self._page.things)
            if other.text.lower() == thing.text.lower() and other.visible > 0
        )
        label, form = self._label(thing.text, thing.kind)
        return self._worded(label, same, form, label=thing.text)

    def absent(self) -> Question | None:
        """Ask for an absent label, often one that looks like a present one; or for an absent role or icon."""
        rng = self._rng
        draw = rng.random()
        texts = [t.text for t in self._page.things if t.text]
        if draw < 0.2:
            kinds = [kind for kind in all_kinds() if kind.family in ("control", "icon")]
            kind = kinds[int(rng.integers(len(kinds)))]
            if any(thing.kind == kind or _means(thing.kind, kind) for thing in self._page.things):
                return None
            return self._worded(self._name(kind, bool(rng.random() < 0.3)), (), "absent role")
        if texts and draw < 0.2 + 0.8 * self._style.alike:
            label = look_alike(rng, texts[int(rng.integers(len(texts)))], self._words)
            form = "absent look-alike"
        else:
            label, form = draw_label(rng, self._words), "absent label"
        # Labels that agree in the letters that are learned cannot be told apart by them.
        if letter_targets(label) in {letter_targets(text) for text in texts} or _on_page(
            label, texts
        ):
            return None
        kind = self._page.things[int(rng.integers(len(texts)))].kind if texts else all_kinds()[-1]
        words = self._label(label, kind)[0] if kind.family == "control" else label
        return self._worded(words, (), form, label=label)

    def _label(self, text: str, kind: Kind) -> tuple[str, str]:
        """Return a label as a user writes it, sometimes with its role."""
        rng = self._rng
        draw = rng.random()
        text = text.lower() if draw < 0.3 else text
        text = f'"{text}"' if rng.random() < self._style.quoted else text
        if rng.random() < 0.55:
            return text, "label"
        name = kind.names[0][0] if rng.random() < 0.7 else self._name(kind, False)
        words = (name, text) if rng.random() < 0.2 else (text, name)
        return " ".join(words), "label and role"

    def _name(self, kind: Kind, several: bool) -> str:
        names = kind.names[int(self._rng.integers(len(kind.names)))]
        return names[1 if several else 0]

    def _place(self, thing: Thing) -> tuple[float, float]:
        """Reading order: lines first."""
        height = max(1.0, thing.box[3] - thing.box[1])
        return (thing.point[1] // height, thing.point[0])

    def _worded(
        self,
        words: str,
        targets: tuple[int, ...],
        form: str,
        counting: bool = False,
        label: str = "",
    ) -> Question:
        rng = self._rng
        query = f"the {words}" if not counting and rng.random() < 0.25 else words
        if rng.random() < self._style.plain:
            # `molmo_point.markup` asks in lower case, and labels of answers repeat the query.
            query = query.lower()
            prompt = count_prompt(query) if counting else point_prompt(query)
        else:
            templates = COUNT_TEMPLATES if counting else POINT_TEMPLATES + CLICK_TEMPLATES
            prompt = templates[int(rng.integers(len(templates)))].format(query)
        return Question("count" if counting else "point", query, prompt, targets, form, label)


def _on_page(label: str, texts: list[str]) -> bool:
    """Whether a label contains a present one or is part of it: such a question has no clear answer."""
    low = label.lower()
    return any(low in text.lower() or text.lower() in low for text in texts)


def _means(there: Kind, asked: Kind) -> bool:
    """Whether two icons share a name."""
    if "icon" not in (there.family, asked.family):
        return False
    return bool(set(there.names) & set(asked.names))
