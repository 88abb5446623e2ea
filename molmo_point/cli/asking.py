"""Ask every query about every image, one answer at a time: what `point` and `count` share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from molmo_point.cli.answers import UNKNOWN, Answer, other_labels
from molmo_point.cli.inputs import CollectedImages, InputImage
from molmo_point.cli.output import visible
from molmo_point.cli.outputs import AnnotatedOutputs, DrawingFailed
from molmo_point.cli.progress import progress
from molmo_point.defaults import MAX_QUERIES
from molmo_point.errors import OF_ONE_REQUEST, BatchError, PointError
from molmo_point.wording import counted

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer, Tiles, View
    from molmo_point.points import Pointing


@dataclass(frozen=True)
class Shown:
    """How answers are shown.

    Attributes:
        as_json: One JSON object a line.
        quiet: No messages but errors.
        out: Where drawings go; None for none.
        overwrite: As in `AnnotatedOutputs`.
    """

    as_json: bool
    quiet: bool
    out: str | None
    overwrite: bool


@dataclass(frozen=True)
class Asking:
    """What is asked about every image, and how an answer is shown.

    Attributes:
        kind: "point" or "count".
        queries: As the user wrote them.
        several: Whether more than one answer was asked for, whatever comes of it.
        timeout_s: For each query.
        as_json: One JSON object a line.
        quiet: No messages but errors.
        tiles: Of counting, as in `Pointer.count`.
    """

    kind: str
    queries: Sequence[str]
    several: bool
    timeout_s: float | None
    as_json: bool
    quiet: bool
    tiles: Tiles = None

    def run(
        self, pointer: Pointer, found: CollectedImages, outputs: AnnotatedOutputs | None
    ) -> list[Answer]:
        """Ask, print each answer as it comes, draw where asked to; return the answers.

        Raises:
            PointError: The error of the only answer; or what ends the run.
        """
        from molmo_point.capabilities import unknown_note

        for query in self.queries:
            if note := unknown_note(pointer.model, query):
                self._say(f"note: {note}")
        answers = []
        for image in progress(found.images, self.kind, quiet=self.quiet):
            of_one = []
            for answer in self._answers(pointer, image):
                if answer.error is not None and not self.several:
                    raise answer.error
                self.show(answer)
                self.remark(answer)
                of_one.append(answer)
            answers += of_one
            if outputs is not None and not self._draw(outputs, image, of_one):
                outputs = None
        return answers

    def _answers(self, pointer: Pointer, image: InputImage) -> Iterator[Answer]:
        if len(self.queries) == 1 or self.tiles is not None:
            for query in self.queries:
                yield self._one(image, query, lambda words: self._ask(pointer, image, words))
            return
        # A limit for each query is told to each: together they have one for all.
        together = self.kind == "point" and self.timeout_s is None
        if together and len(self.queries) <= MAX_QUERIES:
            yield from self._each(pointer, image)
            return
        try:
            view: View = pointer.open(image.source)
        except OF_ONE_REQUEST as error:
            yield from (Answer(image.name, query, error=error) for query in self.queries)
            return
        with view:
            of_view = view.point if self.kind == "point" else view.count
            for query in self.queries:
                yield self._one(
                    image, query, lambda words: of_view(words, timeout_s=self.timeout_s)
                )

    def _each(self, pointer: Pointer, image: InputImage) -> Iterator[Answer]:
        """Ask all queries in one call, side by side; those that failed come last."""
        from molmo_point.markup.noun_phrase import noun_phrase

        waiting = [(noun_phrase(query), query) for query in self.queries]
        words = [word for word, _ in waiting]
        errors: list[PointError] = []
        try:
            for pointing in pointer.point_each(image.source, words):
                place = next(n for n, (word, _) in enumerate(waiting) if word == pointing.query)
                query = waiting.pop(place)[1]
                yield Answer(image.name, query, pointing=pointing.replace(query=query))
        except BatchError as error:
            errors = [result for result in error.results if isinstance(result, PointError)]
        except OF_ONE_REQUEST as error:
            errors = [error] * len(waiting)
        for (_, query), failure in zip(waiting, errors, strict=True):
            if not isinstance(failure, OF_ONE_REQUEST):
                raise failure
            yield Answer(image.name, query, error=failure)

    def _ask(self, pointer: Pointer, image: InputImage, words: str) -> Pointing:
        if self.kind == "point":
            return pointer.point(image.source, words, timeout_s=self.timeout_s)
        if self.tiles is None:
            return pointer.count(image.source, words, timeout_s=self.timeout_s)
        return pointer.count(image.source, words, tiles=self.tiles, timeout_s=self.timeout_s)

    def _one(self, image: InputImage, query: str, ask: Callable[[str], Pointing]) -> Answer:
        from molmo_point.markup.noun_phrase import noun_phrase

        try:
            pointing = ask(noun_phrase(query))
        except OF_ONE_REQUEST as error:
            return Answer(image.name, query, error=error)
        return Answer(image.name, query, pointing=pointing.replace(query=query))

    def show(self, answer: Answer) -> None:
        """Print an answer on stdout."""
        if self.as_json:
            typer.echo(json.dumps(answer.as_json(), ensure_ascii=False))
        elif self.kind == "count":
            alone = UNKNOWN if answer.count is None else str(answer.count)
            typer.echo(answer.row(len(self.queries) > 1) if self.several else alone)
        elif answer.pointing is not None:
            from molmo_point.cli.tables import print_points

            print_points(answer.pointing, answer.image)

    def remark(self, answer: Answer) -> None:
        """Say on stderr what the result alone does not tell."""
        where = answer.image if len(self.queries) == 1 else f"{answer.image}, {answer.query!r}"
        if answer.error is not None:
            complain(
                str(answer.error)
                if answer.image in str(answer.error)
                else f"{where}: {answer.error}"
            )
        elif answer.pointing is not None:
            if answer.pointing.status.value == "malformed":
                text = answer.pointing.text[:200]
                complain(f"{where}: the model's answer could not be read: {text!r}")
            for words in remarks(answer, self.kind):
                self._say(f"{where}: {words}")

    def _draw(
        self, outputs: AnnotatedOutputs, image: InputImage, answers: Sequence[Answer]
    ) -> bool:
        """Draw the answers about one image; False after a failure that will meet the others, too."""
        from molmo_point.annotated import together

        pointings = [answer.pointing for answer in answers if answer.pointing is not None]
        if not pointings:
            return True
        try:
            path = outputs.write(image, together(pointings))
        except DrawingFailed as error:
            complain(f"{error}; " + ("no further drawings are made" if self.several else ""))
            outputs.failed = True
            return False
        if not self.several:
            self._say(f"wrote {path}")
        return True

    def _say(self, words: str) -> None:
        if not self.quiet:
            sys.stderr.write(visible(words) + "\n")


def remarks(answer: Answer, kind: str) -> list[str]:
    """Return what a user must know about an answer besides its points."""
    from molmo_point.markup.order import first_out_of_order

    pointing = answer.pointing
    assert pointing is not None
    found = []
    if pointing.status.value == "not_found" and kind == "point":
        found.append(f"nothing there that fits {answer.query!r}")
    elif pointing.status.value == "truncated":
        found.append(
            f"cut short by --timeout or the token limit after {counted(pointing.count, 'point')}: there may be more"
        )
    elif pointing.status.value == "pending":
        found.append("no answer yet")
    if pointing.in_domain is not None and not pointing.calibrated:
        found.append(foreign_image(pointing))
    if pointing.duplicates:
        found.append(
            f"the model repeated {counted(pointing.duplicates, 'point')}; each is counted once"
        )
    if pointing.count_agrees is False:
        found.append(
            f"the model wrote {pointing.stated_count} and pointed to {pointing.count}; the points count"
        )
    if (index := first_out_of_order(pointing)) is not None:
        found.append(
            f"point {index + 1} is out of the order that this model learned: it may have lost its place, check the points"
        )
    if pointing.tiling is not None and pointing.tiling.agrees is False:
        found.append(
            f"one look at the whole image counts {pointing.tiling.whole_count}, {pointing.tiling.looks - 1} looks at tiles "
            f"{pointing.count}: check the points"
        )
    if labels := other_labels(pointing):
        names = ", ".join(repr(label) for label in labels[:4])
        found.append(
            f"the model calls it {names}, not {answer.query!r}: these points may be wrong"
        )
    return found


def foreign_image(pointing: Pointing) -> str:
    """Return what a user must know about an image outside of the images that a model was calibrated on."""
    from molmo_point.checkpoints.catalog import PHOTOGRAPHS

    return (
        f"not like the images that {pointing.model} was trained on ({100 * (pointing.in_domain or 0):.0f} % like them): most "
        f"points on it are wrong; for photographs load --model {PHOTOGRAPHS}"
    )


def report_skipped(found: CollectedImages, quiet: bool) -> None:
    """Name on stderr the files of folders that are not asked about, by reason."""
    if quiet or not found.skipped:
        return
    by_reason: dict[str, list[str]] = {}
    for name, reason in found.skipped:
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        sys.stderr.write(visible(f"skipped {shown}: {reason}") + "\n")


def complain(words: str) -> None:
    """Say on stderr what went wrong."""
    shown = visible(words.rstrip("; "), keep="\n")
    sys.stderr.write(f"molmo-point: {shown}\n")
