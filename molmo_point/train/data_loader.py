"""Batches of fresh pictures, drawn in worker processes; which pictures a batch holds depends on its number alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.errors import PointError
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.browser import PageBrowser
from molmo_point.synthetic.pages.draw import draw_page, written_words
from molmo_point.synthetic.pages.questions import draw_page_questions
from molmo_point.synthetic.scenes.questions import draw_questions
from molmo_point.synthetic.scenes.scene import Scene, draw_scene
from molmo_point.synthetic.splits import held_out_seed, training_seed
from molmo_point.train.batches import Batch, collate
from molmo_point.train.negatives import hard_negatives
from molmo_point.train.recipe import MixtureEntry, StageRecipe
from molmo_point.train.sample import ImageSample, build_image_sample
from molmo_point.train.target_sequence import AnswerWriter, TargetSequence

WORKER_TIMEOUT_S = 300.0
"""A batch takes a second or two to draw; a worker that is silent for so long is dead or stuck."""


class TrainingStopped(PointError):
    """Training cannot go on; the message holds the cause, and what was saved stays whole."""

    kind = "training_stopped"


@dataclass(frozen=True)
class LoadedBatch:
    """A batch as a worker hands it over.

    Attributes:
        batch: None if every picture of it failed.
        pictures: How many it holds.
        skipped: Pictures that could not be drawn.
        reason: The last failure in words, or "".
        cpu_s: CPU-seconds that drawing it took in another process; 0 when drawn in this one.
    """

    batch: Batch | None
    pictures: int
    skipped: int
    reason: str
    cpu_s: float


class SampleGenerator:
    """Draws the pictures and questions of one stage.

    Args:
        folder: Holds tokenizer.json; a path, because workers open it themselves.
    """

    def __init__(
        self,
        run: int,
        stage: StageRecipe,
        folder: Path,
        config: PreprocessConfig,
        held_out: bool = False,
    ) -> None:
        self.stage = stage
        self.tokenizer = Tokenizer(folder)
        self._run = run
        self._config = config
        self._held_out = held_out
        self._writer = AnswerWriter(self.tokenizer, cut=stage.cut)
        self._browser: PageBrowser | None = None
        self._bounds = np.cumsum([mix.weight for mix in stage.scenes])

    def scene(self, index: int) -> Scene:
        """Draw scene `index` of the stage."""
        seed = (
            held_out_seed(index)
            if self._held_out
            else training_seed(self._run, self.stage.name, index)
        )
        mix = self._mix(seed)
        if mix.page is None:
            return draw_scene(seed, mix.style)
        # Looks at held-out pictures come in between, from another process: they do without a browser.
        if mix.page.chromium and not self._held_out:
            if self._browser is None:
                self._browser = PageBrowser().__enter__()
            return self._browser.draw(seed, mix.page)
        return draw_page(seed, mix.page)

    def close(self) -> None:
        """Stop the browser, if there is one; a worker that is ended takes its browser along by itself."""
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    def _mix(self, seed: int) -> MixtureEntry:
        draw = np.random.default_rng([seed, 1]).random() * self._bounds[-1]
        return self.stage.scenes[int(np.searchsorted(self._bounds, draw, side="right"))]

    def picture(self, scene: Scene) -> ImageSample:
        """Cut a scene into crops."""
        return build_image_sample(scene, self._config, self.tokenizer)

    def answers(self, scene: Scene, picture: ImageSample, epoch: int = 0) -> list[TargetSequence]:
        """Draw questions and write their answers; another epoch asks other questions."""
        if self.stage.kind == "dense":
            return []
        rng = np.random.default_rng([scene.seed, 2, epoch])
        count, page = self.stage.questions, self._mix(scene.seed).page
        if page is None:
            questions = draw_questions(scene, rng, count, self.stage.question_style)
        else:
            words = written_words(page, self._held_out)
            questions = draw_page_questions(scene, rng, count, self.stage.page_questions, words)
        answers = [self._writer.write(q, picture.points, float(rng.random())) for q in questions]
        if not self.stage.losses.sure:
            return answers
        wrong = [(question, hard_negatives(question, picture, rng)) for question in questions]
        return [
            *answers,
            *(self._writer.negative(q, points) for q, points in wrong if points is not None),
        ]

    def sample(self, index: int) -> tuple[ImageSample, list[TargetSequence]]:
        """Draw one picture with its answers."""
        scene = self.scene(index)
        picture = self.picture(scene)
        return picture, self.answers(scene, picture)


class BatchDataset(Dataset[LoadedBatch]):
    """Batch number -> batch. A picture whose drawing throws is left out and counted."""

    def __init__(self, drawer: SampleGenerator) -> None:
        self._drawer = drawer

    def __getitem__(self, number: int) -> LoadedBatch:
        started = time.process_time()
        size = self._drawer.stage.batch
        samples, reason = [], ""
        for index in range(number * size, (number + 1) * size):
            try:
                samples.append(self._drawer.sample(index))
            except Exception as error:  # whatever it is: it must not end hours of training
                reason = f"picture {index}: {type(error).__name__}: {error}"
        batch = collate(samples) if samples else None
        in_worker = torch.utils.data.get_worker_info() is not None
        cpu_s = time.process_time() - started if in_worker else 0.0
        return LoadedBatch(batch, len(samples), size - len(samples), reason, cpu_s)


def load_batches(drawer: SampleGenerator, first: int, workers: int) -> Iterator[LoadedBatch]:
    """Yield batches without end, beginning with number `first`.

    Args:
        workers: Processes that draw; 0 draws in this one.

    Raises:
        TrainingStopped: A worker died or hangs.
    """
    loader = DataLoader(
        BatchDataset(drawer),
        batch_size=None,
        sampler=_Counting(first),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        timeout=WORKER_TIMEOUT_S if workers else 0,
        worker_init_fn=_outlive_one_sigterm,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader" in str(error):
            raise TrainingStopped(
                f"a process that draws pictures died: {error}; start the command again to go on from the saved state"
            ) from error
        raise
    finally:
        drawer.close()


def _outlive_one_sigterm(_worker: int) -> None:
    """A service manager sends SIGTERM to every process; the one that trains saves its state first, and ends the others."""

    def note(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, note)


class _Counting(torch.utils.data.Sampler[int]):
    """first, first + 1, ... without end."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        number = self._first
        while True:
            yield number
            number += 1


@dataclass(frozen=True, eq=False)
class CachedSample:
    """A picture whose image embeddings are kept, so that it can be asked again without looking at it again."""

    scene: Scene
    picture: ImageSample
    features: torch.Tensor


def without_pixels(scene: Scene, picture: ImageSample) -> tuple[Scene, ImageSample]:
    """Drop what only the vision tower and the drawing need, which is nearly all of the memory."""
    small = replace(scene, image=scene.image[:1, :1].copy(), owner=scene.owner[:1, :1].copy())
    return small, replace(picture, crops=picture.crops[:0].copy())
