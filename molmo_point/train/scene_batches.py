"""Fresh images and questions of one stage, rendered by the number of a batch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from molmo_point.checkpoints.config import PreprocessConfig
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.browser import PageBrowser
from molmo_point.synthetic.pages.draw import draw_page, written_words
from molmo_point.synthetic.pages.questions import draw_page_questions
from molmo_point.synthetic.scenes.photographs import absent_questions, draw_photograph
from molmo_point.synthetic.scenes.questions import draw_questions
from molmo_point.synthetic.scenes.scene import Scene, draw_scene
from molmo_point.synthetic.splits import held_out_seed, training_seed
from molmo_point.train.batches import Batch
from molmo_point.train.collate import collate
from molmo_point.train.data_loader import LoadedBatch
from molmo_point.train.negatives import hard_negatives
from molmo_point.train.recipe import MixtureEntry, StageRecipe
from molmo_point.train.sample import ImageSample, build_image_sample
from molmo_point.train.scene_reuse import ReusedScenes
from molmo_point.train.target_sequence import AnswerWriter, TargetSequence


class SampleGenerator:
    """Renders the images and draws the questions of one stage.

    Args:
        run: The run's seed.
        folder: Holds tokenizer.json; a path, because each worker opens it.
        held_out: Use the seeds kept for evaluation.
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
        self._bounds = np.cumsum([entry.weight for entry in stage.scenes])
        self._scenes = ReusedScenes(self.scene, 1 if held_out else stage.reuse)

    def scene(self, index: int) -> Scene:
        """Render scene `index` of the stage."""
        seed = (
            held_out_seed(index)
            if self._held_out
            else training_seed(self._run, self.stage.name, index)
        )
        entry = self._entry(seed)
        if entry.photographs is not None:
            return draw_photograph(seed, entry.photographs)
        if entry.page is None:
            return draw_scene(seed, entry.style)
        # Held-out images are rendered between steps in the training process, which has no browser.
        if entry.page.chromium and not self._held_out:
            if self._browser is None:
                self._browser = PageBrowser().__enter__()
            return self._browser.draw(seed, entry.page)
        return draw_page(seed, entry.page)

    def close(self) -> None:
        """Stop the browser, if there is one; that of a terminated worker ends with it."""
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    def _entry(self, seed: int) -> MixtureEntry:
        draw = np.random.default_rng([seed, 1]).random() * self._bounds[-1]
        return self.stage.scenes[int(np.searchsorted(self._bounds, draw, side="right"))]

    def image(self, scene: Scene) -> ImageSample:
        """Cut a scene into crops."""
        return build_image_sample(scene, self._config, self.tokenizer)

    def answers(self, scene: Scene, image: ImageSample, epoch: int = 0) -> list[TargetSequence]:
        """Draw questions and write their answers; another epoch has other questions."""
        if self.stage.kind == "dense":
            return []
        rng = np.random.default_rng([scene.seed, 2, epoch])
        count, entry = self.stage.questions, self._entry(scene.seed)
        page, asked = entry.page, self.stage.question_style
        if entry.photographs is not None:
            questions = absent_questions(scene, rng, count, asked, entry.photographs)
        elif page is None:
            questions = draw_questions(scene, rng, count, asked)
        else:
            words = written_words(page, self._held_out)
            questions = draw_page_questions(scene, rng, count, self.stage.page_questions, words)
        answers = [self._writer.write(q, image.points, float(rng.random())) for q in questions]
        if not self.stage.losses.sure:
            return answers
        wrong = [(question, hard_negatives(question, image, rng)) for question in questions]
        return [
            *answers,
            *(self._writer.negative(q, points) for q, points in wrong if points is not None),
        ]

    def sample(self, index: int) -> tuple[ImageSample, list[TargetSequence]]:
        """Return image `index` with its answers."""
        scene, use = self._scenes.at(index)
        image = self.image(scene)
        return image, self.answers(scene, image, use)

    def batch(self, number: int) -> LoadedBatch[Batch]:
        """Return batch `number`. An image that fails to render is left out and counted."""
        started = time.process_time()
        size = self.stage.batch
        samples, reason = [], ""
        for index in range(number * size, (number + 1) * size):
            try:
                samples.append(self.sample(index))
            except Exception as error:  # no failure of one image may end hours of training
                reason = f"image {index}: {type(error).__name__}: {error}"
        batch = collate(samples) if samples else None
        in_worker = torch.utils.data.get_worker_info() is not None
        cpu_s = time.process_time() - started if in_worker else 0.0
        return LoadedBatch(batch, len(samples), size - len(samples), reason, cpu_s)
