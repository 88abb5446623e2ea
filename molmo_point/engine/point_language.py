"""How a checkpoint points: with numbers in its text, or with patches of the image (MolmoPoint).

What an answer needs of it: a rule for tokens, drafts, a parser, and confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from molmo_point.engine.draft_width import DraftWidth
from molmo_point.engine.drafting import GrammarDrafter
from molmo_point.engine.encoded_image import EncodedImage
from molmo_point.engine.generate import Drafter, Step
from molmo_point.engine.image_calibration import AnyCalibration
from molmo_point.engine.patch_choice import ChoiceIds, PatchChooser, PointDecoding
from molmo_point.engine.patch_confidence import PatchConfidence
from molmo_point.engine.patch_drafting import PatchDrafter
from molmo_point.engine.point_grammar import PERCENT, THOUSANDTHS
from molmo_point.engine.score_calibration import Floats
from molmo_point.engine.token_choice import GreedyChoice, TokenChoice
from molmo_point.engine.uncertainty import ConfidenceTracker, NumberTokens, Span
from molmo_point.markup import Frames, PatchParser, PointParser
from molmo_point.markup.writer import NONE_TEXT
from molmo_point.model.molmo import Molmo
from molmo_point.pointer import Kind
from molmo_point.points import Point
from molmo_point.preprocess.tokenizer import Tokenizer


class Confidence(Protocol):
    """Records the probabilities of an answer, and rates its points by them. See `ConfidenceTracker`."""

    def record(self, step: Step) -> None: ...

    def absent_probability(self) -> float | None: ...

    def with_confidence(
        self, point: Point, spans: tuple[Span, Span], text: str, token_spans: Sequence[Span]
    ) -> Point: ...

    def hidden_features(self, span: Span, token_spans: Sequence[Span]) -> Floats | None: ...


class PointLanguage(Protocol):
    """What the answers about an image need."""

    def choice(self, image: EncodedImage) -> TokenChoice:
        """Return the rule by which tokens are chosen."""

    def drafter(
        self,
        image: EncodedImage,
        kind: Kind,
        label: str,
        prompt: Sequence[int],
        width: DraftWidth | None = None,
    ) -> Drafter:
        """Return what drafts an answer; arguments as of `GrammarDrafter`."""

    def parser(self, image: EncodedImage, label: str) -> PointParser:
        """Return a parser of points with that label."""

    def confidence(self, image: EncodedImage, calibration: AnyCalibration | None) -> Confidence:
        """Return what rates points."""


def frames_of(image: EncodedImage) -> Frames:
    """Return the images or frames that an answer may point into."""
    return Frames(len(image.image_sizes), image.times_s)


class WrittenPoints:
    """Points are numbers in the text: Molmo and Molmo 2."""

    def __init__(self, tokenizer: Tokenizer, generation: int) -> None:
        self._tokenizer = tokenizer
        self._grammar = THOUSANDTHS if generation == 2 else PERCENT
        self._numbers = NumberTokens(tokenizer, self._grammar)

    def choice(self, image: EncodedImage) -> TokenChoice:
        return GreedyChoice()

    def drafter(
        self,
        image: EncodedImage,
        kind: Kind,
        label: str,
        prompt: Sequence[int],
        width: DraftWidth | None = None,
    ) -> Drafter:
        follow = self._grammar.continuations
        return GrammarDrafter(self._tokenizer, kind, label, prompt, follow, width)

    def parser(self, image: EncodedImage, label: str) -> PointParser:
        return self._grammar.parser(label, frames_of(image))

    def confidence(self, image: EncodedImage, calibration: AnyCalibration | None) -> Confidence:
        return ConfidenceTracker(self._numbers, calibration)


class ChosenPatches:
    """Points are choices of patches: MolmoPoint."""

    def __init__(self, model: Molmo, tokenizer: Tokenizer, decoding: PointDecoding) -> None:
        assert tokenizer.special.point is not None
        self._model, self._tokenizer, self._decoding = model, tokenizer, decoding
        self._special = tokenizer.special.point
        self._none = tokenizer.encode(NONE_TEXT)

    def choice(self, image: EncodedImage) -> PatchChooser:
        return PatchChooser(self._model, self._special, image.patches, self._decoding)

    def drafter(
        self,
        image: EncodedImage,
        kind: Kind,
        label: str,
        prompt: Sequence[int],
        width: DraftWidth | None = None,
    ) -> Drafter:
        windows = image.patches.windows.tolist() if image.patches else []
        ids = self._ids(image)
        return PatchDrafter(self._tokenizer, kind, label, prompt, ids, windows, width)

    def parser(self, image: EncodedImage, label: str) -> PointParser:
        assert image.places is not None
        assert image.patches is not None
        choices = image.patches.count, image.patches.window_size
        return PatchParser(
            locate=image.places.locate, choices=choices, label=label, frames=frames_of(image)
        )

    def confidence(self, image: EncodedImage, calibration: AnyCalibration | None) -> Confidence:
        return PatchConfidence(self._none, self._ids(image), image.places, calibration)

    def _ids(self, image: EncodedImage) -> ChoiceIds:
        keys = image.patches
        counts = (keys.count, keys.window_size) if keys else (0, 0)
        return ChoiceIds.of(self._model.config.decoder.embedding_size, *counts)
