"""Train a small Molmo from a recipe, stage by stage. docs/training.md lists the files of a run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molmo_point.model.cpu_features import computes_in_bfloat16
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.labels import label_forms
from molmo_point.train.answer_loss import AnswerLosses, SupervisedHeads
from molmo_point.train.auxiliary_losses import dense_losses, encode_images
from molmo_point.train.batches import Batch
from molmo_point.train.collate import collate
from molmo_point.train.compute_cost import start_cost, write_cost
from molmo_point.train.curves import draw_curves
from molmo_point.train.data_loader import LoadedBatch, load_batches
from molmo_point.train.embedding_cache import EmbeddingCache
from molmo_point.train.export import export_checkpoint
from molmo_point.train.init_decoder import init_decoder, init_label_words, init_words
from molmo_point.train.init_network import build_network, init_vision
from molmo_point.train.losses import Losses
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.progress import Progress, evaluation_row
from molmo_point.train.recipe import Recipe, StageRecipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.scene_batches import SampleGenerator
from molmo_point.train.schedule import lr_scale, make_optimizer, stage_progress
from molmo_point.train.state import STATE_FILE, load_state
from molmo_point.train.training_run import TrainingRun
from molmo_point.train.warm_start import read_new_words, warm_start
from molmo_point.wording import counted

INIT_IMAGES = 40
"""Images from which the patch embedding is initialised: some ten thousand patches, a second of work."""


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    progress: Progress | None = None,
    steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    tensorboard: bool = False,
) -> Path:
    """Train a model or resume an interrupted run; return the folder of the latest checkpoint.

    Args:
        folder: The run's folder; created if missing.
        device: "cpu" or "cuda".
        workers: Processes that render images; 0 renders in this one.
        progress: Where to report; None is silent.
        steps: Save and stop after this many steps of this call; None runs to the end.
        stop: Called before every step; True saves and stops.
        tensorboard: Also write losses, rates and evaluations for TensorBoard, into the run's folder.

    Raises:
        UsageError: The folder belongs to another recipe, or is damaged.
        TrainingStopped: Disk full, a worker died, the loss is not finite, too many images failed to render.
    """
    on = torch.device(device)
    recipe = recipe.model_copy(update={"precision": fastest_precision(recipe.precision, on)})
    run = Run(recipe, Path(folder), on, workers, progress or Progress(None), tensorboard)
    try:
        run.go(steps, stop)
    finally:
        run.close()
    return run.folder / "checkpoint"


def fastest_precision(asked: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16": what is asked for, or for "auto" what this machine computes fastest in."""
    if asked != "auto":
        return asked
    fast = device.type != "cpu" or computes_in_bfloat16()
    return "bfloat16" if fast else "float32"


class Run(TrainingRun[Batch]):
    """A run of a recipe, stage by stage."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        workers: int,
        progress: Progress,
        tensorboard: bool = False,
    ) -> None:
        super().__init__(
            folder,
            open_run_folder(recipe, folder),
            device,
            progress,
            precision=recipe.precision,
            save_every_s=recipe.save_every_s,
            tensorboard=tensorboard,
        )
        self.recipe = recipe
        self._workers = workers
        self._tokenizer = Tokenizer(folder)
        self.network = build_network(recipe, self._tokenizer)
        self.model.to(device)
        self.network.heads.to(device)
        self._resumed = (self.folder / STATE_FILE).exists()
        if recipe.start is not None and not self._resumed:
            started = warm_start(recipe.start, self.network, folder)
            start_cost(recipe.start, folder)
            progress.note(
                f"{counted(started.taken, 'tensor')} from {recipe.start}; initialised: "
                f"{counted(len(started.reinitialized), 'tensor')}, {counted(len(started.new_words), 'word')}, "
                f"{counted(len(started.new_kinds), 'kind')}"
            )
        self._last_check = time.monotonic()

    @property
    def model(self) -> Molmo:
        """The part of the network that is shipped."""
        return self.network.model

    def go(self, steps: int | None, stop: Callable[[], bool]) -> None:
        """Run all remaining stages."""
        left = steps
        while self.position.stage < len(self.recipe.stages):
            stage = self._stage
            self._prepare(stage)
            done, left = self.run_steps(self._batches(stage), left, stop)
            if not done:
                self.save()
                # Another run may start from this folder and adds up its cost.
                write_cost(self.recipe, self.position, self.folder)
                return
            self._evaluate(stage)
            self.position.next_stage()
            self.optimizer = None
            self.save()
            self._export()
            draw_curves(self.folder)
        if not (self.folder / "checkpoint").exists():
            load_state(self.folder, self.modules(), None)
            self._export()

    def _export(self) -> None:
        """Write the checkpoint."""
        checkpoint = self.folder / "checkpoint"
        export_checkpoint(self.model, self.recipe, checkpoint, self.folder)
        write_cost(self.recipe, self.position, self.folder, checkpoint)

    def modules(self) -> dict[str, torch.nn.Module]:
        """Return the network and its auxiliary heads."""
        return {"model": self.model, "heads": self.network.heads}

    def _prepare(self, stage: StageRecipe) -> None:
        """Load the saved state, or initialise what this stage trains first."""
        if self._resumed and self.position.batch == 0:
            load_state(self.folder, self.modules(), None)
        if self.position.batch == 0:
            self._initialise(stage)
        self.optimizer = make_optimizer(self.network, stage)
        if self._resumed and self.position.batch > 0:
            load_state(self.folder, self.modules(), self.optimizer)
        self._resumed = False

    def _initialise(self, stage: StageRecipe) -> None:
        """Initialise the vision tower before the first stage, and the decoder before the first stage that trains it."""
        before = self.recipe.stages[: self.position.stage]
        if self.recipe.start is None and not before and stage.kind != "decoder":
            init_vision(self.model, self._sample_patches(stage), self.recipe.seed)
        if stage.kind != "dense" and all(earlier.kind == "dense" for earlier in before):
            new_words = read_new_words(self.folder)
            if new_words is None:
                init_decoder(self.network, self._tokenizer, self.recipe.model)
            else:
                init_words(self.network, self._tokenizer, new_words)
                if new_labels := new_words & set(label_forms()):
                    init_label_words(self.network, self._tokenizer, new_labels)

    def _sample_patches(self, stage: StageRecipe) -> torch.Tensor:
        """Return patches [N, patch pixels] of images like those of the stage, with seeds of their own."""
        other = stage.model_copy(update={"name": f"{stage.name} sample", "kind": "dense"})
        generator = self._generator(other)
        samples = [generator.image(generator.scene(index)) for index in range(INIT_IMAGES)]
        return collate([(sample, []) for sample in samples]).inputs.crops.flatten(0, 1)

    def _generator(self, stage: StageRecipe, held_out: bool = False) -> SampleGenerator:
        config = self.model.config.preprocess
        return SampleGenerator(self.recipe.seed, stage, self.folder, config, held_out)

    @property
    def _stage(self) -> StageRecipe:
        return self.recipe.stages[self.position.stage]

    def used_share(self) -> float:
        """Return the used share of the stage's budget."""
        return stage_progress(self._stage, self.position)

    def rate_scale(self, group: dict[str, Any]) -> float:
        """Return the same share of their peak for all rates."""
        return lr_scale(self._stage, self.used_share())

    def where(self) -> str:
        """Return the position in words, for messages."""
        return f"batch {self.position.batch} of stage '{self._stage.name}'"

    def _batches(self, stage: StageRecipe) -> Iterator[LoadedBatch[Batch]]:
        generator = self._generator(stage)
        if stage.kind == "decoder":
            cache = EmbeddingCache(generator, self.model, stage.cached, self._device)
            cache.fill(self._progress, self.autocast)
            return cache.batches(self.position.batch)
        return load_batches(generator, self.position.batch, self._workers)

    def losses_of(self, batch: Batch) -> Iterator[tuple[Losses, Tensor]]:
        """Yield the losses of the batch, which has one part, and their weighted sum."""
        losses = self._losses(self._stage, batch.to(self._device))
        yield losses, losses.total(self._stage.losses)

    def report(self, losses: Sequence[Losses], images: int) -> None:
        """Report a step."""
        self._progress.step(self._stage.name, self.used_share(), self.position, losses, images)

    def _losses(self, stage: StageRecipe, batch: Batch) -> Losses:
        recipe = self.recipe.model
        supervised = SupervisedHeads(recipe.taught_layer, recipe.taught_heads)
        with self.autocast():
            # The decoder has a context of its own, for packed rows.
            with fastest_attention(self._device):
                vision = encode_images(self.model, batch.inputs)
            if stage.kind == "dense":
                return dense_losses(self.network.heads, vision, batch)
            answer_losses = AnswerLosses(self.network, supervised, stage.losses)
            answers = answer_losses(vision.features, batch)
            if stage.kind == "decoder":
                return answers
            return answers | dense_losses(self.network.heads, vision, batch)

    def evaluate_when_due(self) -> None:
        """Evaluate and write the checkpoint, every `check_every_s` seconds of the recipe."""
        if time.monotonic() - self._last_check >= self.recipe.check_every_s:
            self._evaluate(self._stage)
            self._export()
            self._last_check = time.monotonic()

    @torch.no_grad()
    def _evaluate(self, stage: StageRecipe) -> None:
        """Log accuracies on held-out images, whose seeds training never uses."""
        fresh = stage.model_copy(update={"kind": "dense" if stage.kind == "dense" else "joint"})
        batches = load_batches(self._generator(fresh, held_out=True), 0, 0)
        counts: dict[str, float] = {}
        for _ in range(-(-self.recipe.check_pictures // stage.batch)):
            batch = next(batches).batch
            if batch is not None:
                for name, value in self._losses(fresh, batch.to(self._device)).counts.items():
                    counts[name] = counts.get(name, 0.0) + value
        row = evaluation_row(stage, self.position, counts)
        self.log(row)
        self._progress.evaluated(row)
