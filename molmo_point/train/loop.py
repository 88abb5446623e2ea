"""The training loop: stage by stage, step by step, saved often, resumed exactly. docs/training.md lists the files of a run
folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.labels import label_forms
from molmo_point.train.answer_loss import AnswerLosses, SupervisedHeads
from molmo_point.train.auxiliary_losses import dense_losses, encode_images
from molmo_point.train.batches import Batch
from molmo_point.train.collate import collate
from molmo_point.train.compute_cost import start_cost, write_cost
from molmo_point.train.curves import draw_curves
from molmo_point.train.data_loader import (
    LoadedBatch,
    SampleGenerator,
    TrainingStopped,
    load_batches,
)
from molmo_point.train.embedding_cache import EmbeddingCache
from molmo_point.train.export import export_checkpoint
from molmo_point.train.init_decoder import init_decoder, init_label_words, init_words
from molmo_point.train.init_network import build_network, init_vision
from molmo_point.train.losses import Losses
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.progress import Progress
from molmo_point.train.recipe import Recipe, StageRecipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.schedule import CpuClock, lr_scale, make_optimizer, stage_progress
from molmo_point.train.state import STATE_FILE, load_state, save_state
from molmo_point.train.warm_start import read_new_words, warm_start
from molmo_point.wording import counted

INIT_IMAGES = 40
"""Images from which the patch embedding is initialised: some ten thousand patches, a second of work."""

MAX_SKIPPED = 0.2
"""A run stops when more than this share of its images fails to render."""

MIN_SKIPPED = 20
"""Failures that never stop a run."""


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    progress: Progress | None = None,
    steps: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train a model or resume an interrupted run; return the folder of the latest checkpoint.

    Args:
        folder: The run's folder; created if missing.
        device: "cpu" or "cuda".
        workers: Processes that render images; 0 renders in this one.
        progress: Where to report; None is silent.
        steps: Save and stop after this many steps of this call; None runs to the end.
        stop: Called before every step; True saves and stops.

    Raises:
        UsageError: The folder belongs to another recipe, or is damaged.
        TrainingStopped: Disk full, a worker died, the loss is not finite, too many images failed to render.
    """
    run = Run(recipe, Path(folder), torch.device(device), workers, progress or Progress(None))
    run.go(steps, stop)
    return run.folder / "checkpoint"


class Run:
    """A training run: owns the network, the optimizer and the position in the recipe."""

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, workers: int, progress: Progress
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self._device = device
        self._workers = workers
        self._progress = progress
        self.position = open_run_folder(recipe, folder)
        self._tokenizer = Tokenizer(folder)
        self.network = build_network(recipe, self._tokenizer)
        self.model.to(device)
        self.network.heads.to(device)
        self.optimizer: torch.optim.Optimizer | None = None
        self._resumed = (self.folder / STATE_FILE).exists()
        if recipe.start is not None and not self._resumed:
            started = warm_start(recipe.start, self.network, folder)
            start_cost(recipe.start, folder)
            progress.note(
                f"{counted(started.taken, 'tensor')} from {recipe.start}; initialised: "
                f"{counted(len(started.reinitialized), 'tensor')}, {counted(len(started.new_words), 'word')}, "
                f"{counted(len(started.new_kinds), 'kind')}"
            )
        self._last_save = self._last_check = time.monotonic()

    @property
    def model(self) -> Molmo:
        """The part of the network that is shipped."""
        return self.network.model

    def go(self, steps: int | None, stop: Callable[[], bool]) -> None:
        """Run all remaining stages."""
        left = steps
        while self.position.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.position.stage]
            self._prepare(stage)
            done, left = self._run_stage(stage, left, stop)
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
            load_state(self.folder, self._modules(), None)
            self._export()

    def _export(self) -> None:
        """Write the checkpoint."""
        checkpoint = self.folder / "checkpoint"
        export_checkpoint(self.model, self.recipe, checkpoint, self.folder)
        write_cost(self.recipe, self.position, self.folder, checkpoint)

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"model": self.model, "heads": self.network.heads}

    def _prepare(self, stage: StageRecipe) -> None:
        """Load the saved state, or initialise what this stage trains first."""
        if self._resumed and self.position.batch == 0:
            load_state(self.folder, self._modules(), None)
        if self.position.batch == 0:
            self._initialise(stage)
        self.optimizer = make_optimizer(self.network, stage)
        if self._resumed and self.position.batch > 0:
            load_state(self.folder, self._modules(), self.optimizer)
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

    def _run_stage(
        self, stage: StageRecipe, steps: int | None, stop: Callable[[], bool]
    ) -> tuple[bool, int | None]:
        """Train until the stage's budget or `steps` are used up; return whether the stage is done, and the steps left."""
        batches = self._batches(stage)
        started = CpuClock(self.position)
        try:
            while stage_progress(stage, self.position) < 1:
                if stop() or (steps is not None and steps <= 0):
                    return False, 0
                loaded = next(batches)
                self._step(stage, loaded)
                self.position.batch += 1
                self.position.cpu_s = started() + loaded.cpu_s
                started = CpuClock(self.position)
                steps = None if steps is None else steps - 1
                self._save_and_evaluate(stage)
        finally:
            batches.close()  # type: ignore[attr-defined]
        return True, steps

    def _batches(self, stage: StageRecipe) -> Iterator[LoadedBatch]:
        generator = self._generator(stage)
        if stage.kind == "decoder":
            cache = EmbeddingCache(generator, self.model, stage.cached, self._device)
            cache.fill(self._progress, self._precision)
            return cache.batches(self.position.batch)
        return load_batches(generator, self.position.batch, self._workers)

    def _precision(self) -> torch.autocast:
        # Autocast computes matrix products in bfloat16; weights, optimizer and losses stay float32.
        return torch.autocast(
            self._device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        )

    def _step(self, stage: StageRecipe, loaded: LoadedBatch) -> None:
        """Learn from one batch."""
        self.position.samples += loaded.images
        self._count_skipped(loaded)
        if loaded.batch is None or self.optimizer is None:
            return
        done = stage_progress(stage, self.position)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * lr_scale(stage, done)
        losses = self._losses(stage, loaded.batch.to(self._device))
        loss = losses.total(stage.losses)
        if not bool(torch.isfinite(loss)):
            raise TrainingStopped(
                f"the loss is {loss.item()} at batch {self.position.batch} of stage '{stage.name}': lower its rates and "
                "run the command again to resume from the saved state"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]], 1.0
        )
        self.optimizer.step()
        self._progress.step(stage, self.position, losses, loaded.images)

    def _count_skipped(self, loaded: LoadedBatch) -> None:
        """Count images that failed to render; stop the run where too many did."""
        if not loaded.skipped:
            return
        self.position.skipped += loaded.skipped
        self._progress.note(f"{counted(loaded.skipped, 'image')} skipped: {loaded.reason}")
        skipped = self.position.skipped
        total = self.position.samples + sum(self.position.finished_samples) + skipped
        if skipped > MIN_SKIPPED and skipped > MAX_SKIPPED * total:
            raise TrainingStopped(
                f"{skipped} of {total} images failed to render; the last: {loaded.reason}"
            )

    def _losses(self, stage: StageRecipe, batch: Batch) -> Losses:
        recipe = self.recipe.model
        supervised = SupervisedHeads(recipe.taught_layer, recipe.taught_heads)
        with self._precision():
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

    def _save_and_evaluate(self, stage: StageRecipe) -> None:
        now = time.monotonic()
        if now - self._last_check >= self.recipe.check_every_s:
            self._evaluate(stage)
            self._export()
            self._last_check = time.monotonic()
        if now - self._last_save >= self.recipe.save_every_s:
            self.save()
            self._last_save = time.monotonic()

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
        self._progress.evaluated(stage, self.position, counts, self.folder)

    def save(self) -> None:
        """Write the state."""
        save_state(self.folder, self.position, self._modules(), self.optimizer)
