"""The training loop: stage after stage, step after step, saved often, resumed exactly.

runs/nano/recipe.json         the recipe; another one is refused
runs/nano/tokenizer.json      the words
runs/nano/state.safetensors   weights, optimizer, and the number of the next batch
runs/nano/log.jsonl           one line each time held-out pictures were looked at
runs/nano/checkpoint/         the model in the published layout: `molmo_point.load` takes it
runs/nano/curves.png
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from molmo_point.engine.drafting import NONE
from molmo_point.model.molmo import Molmo
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.synthetic.pages.labels import label_forms
from molmo_point.train.answer_loss import SupervisedHeads, answer_losses
from molmo_point.train.auxiliary_losses import Losses, dense_losses, look
from molmo_point.train.batches import Batch, collate
from molmo_point.train.compute_cost import start_cost, write_cost
from molmo_point.train.curves import draw_curves
from molmo_point.train.data_loader import (
    LoadedBatch,
    SampleGenerator,
    TrainingStopped,
    load_batches,
)
from molmo_point.train.embedding_cache import CachedPictures
from molmo_point.train.export import export_checkpoint
from molmo_point.train.init_decoder import begin_label_words, init_decoder, init_words
from molmo_point.train.init_network import build_network, init_vision
from molmo_point.train.math_attention import fastest_attention
from molmo_point.train.progress import Progress
from molmo_point.train.recipe import Recipe, StageRecipe
from molmo_point.train.run_folder import open_run_folder
from molmo_point.train.schedule import make_optimizer, rate, spent
from molmo_point.train.state import STATE_FILE, TrainPosition, load_state, save_state
from molmo_point.train.warm_start import read_start, warm_start
from molmo_point.wording import counted

SAMPLE_PICTURES = 40
"""Pictures that say how to begin a part of the network: some ten thousand patches, a second of work."""

MOST_SKIPPED = 0.2
"""Share of pictures that may fail to be drawn before a run stops: that many are no accident."""


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
    """Train a model, or go on with a run that was interrupted.

    Args:
        folder: The run's folder; made if it is not there.
        device: Where the network computes, "cpu" or "cuda".
        workers: Processes that draw pictures; 0 draws in this one.
        progress: Where to report; None is silent.
        steps: Stop after so many steps of this call, state saved; None goes on to the end.
        stop: Asked before every step: stop here, state saved?

    Returns:
        The folder of the finished (or so far best known) checkpoint.

    Raises:
        UsageError: The folder belongs to another recipe, or is damaged.
        TrainingStopped: Disk full, a drawing process died, the loss is not a number, too many pictures failed.
    """
    run = Run(recipe, Path(folder), torch.device(device), workers, progress or Progress(None))
    run.go(steps, stop)
    return run.folder / "checkpoint"


class Run:
    """A training run: owns the network, the optimizer and the place in the recipe."""

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, workers: int, progress: Progress
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self._device = device
        self._workers = workers
        self._progress = progress
        self.place = open_run_folder(recipe, folder)
        self._tokenizer = Tokenizer(folder)
        self.network = build_network(recipe, self._tokenizer)
        self.model.to(device)
        self.network.heads.to(device)
        self.optimizer: torch.optim.Optimizer | None = None
        self._resumed = (self.folder / STATE_FILE).exists()
        if recipe.start is not None and not self._resumed:
            started = warm_start(recipe.start, self.network, folder)
            start_cost(Path(recipe.start), folder)
            progress.note(
                f"{counted(started.taken, 'tensor')} from {recipe.start}; new: {counted(len(started.anew), 'tensor')}, "
                f"{counted(len(started.new_words), 'word')}, {counted(len(started.new_kinds), 'kind')}"
            )
        self._last_save = self._last_check = time.monotonic()

    @property
    def model(self) -> Molmo:
        """The network that is shipped."""
        return self.network.model

    def go(self, steps: int | None, stop: Callable[[], bool]) -> None:
        """Run all stages that are left."""
        left = steps
        while self.place.stage < len(self.recipe.stages):
            stage = self.recipe.stages[self.place.stage]
            self._begin(stage)
            done, left = self._stage(stage, left, stop)
            if not done:
                self.save()
                # Another run may start from here.
                write_cost(self.recipe, self.place, self.folder)
                return
            self._check(stage)
            self.place.next_stage()
            self.optimizer = None
            self.save()
            self._publish()
            draw_curves(self.folder)
        if not (self.folder / "checkpoint").exists():
            load_state(self.folder, self._modules(), None)
            self._publish()

    def _publish(self) -> None:
        """Write the checkpoint."""
        checkpoint = self.folder / "checkpoint"
        export_checkpoint(self.model, self.recipe, checkpoint, self.folder)
        write_cost(self.recipe, self.place, self.folder, checkpoint)

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"model": self.model, "heads": self.network.heads}

    def _begin(self, stage: StageRecipe) -> None:
        """Load what was saved, or hand over from the stage before."""
        if self._resumed and self.place.batch == 0:
            load_state(self.folder, self._modules(), None)
        if self.place.batch == 0:
            self._hand_over(stage)
        self.optimizer = make_optimizer(self.network, stage)
        if self._resumed and self.place.batch > 0:
            load_state(self.folder, self._modules(), self.optimizer)
        self._resumed = False

    def _hand_over(self, stage: StageRecipe) -> None:
        """Prepare what learns for the first time in this stage."""
        before = self.recipe.stages[: self.place.stage]
        if self.recipe.start is None and not before and stage.kind != "decoder":
            crops = self._sample(stage).crops.flatten(0, 1)
            init_vision(self.model, crops.cpu(), self.recipe.seed)
        if stage.kind != "dense" and all(earlier.kind == "dense" for earlier in before):
            started = read_start(self.folder)
            if started is None:
                init_decoder(self.network, self._tokenizer, self.recipe.model)
            else:
                init_words(self.network, self._tokenizer, set(started.new_words))
                unread = set(started.new_words) & set(label_forms())
                if unread:
                    begin_label_words(self.network, self._tokenizer, unread)

    def _sample(self, stage: StageRecipe) -> Batch:
        """Draw pictures that tell how to begin; their seeds are not those of the stage."""
        other = stage.model_copy(update={"name": f"{stage.name} sample", "kind": "dense"})
        drawer = SampleGenerator(
            self.recipe.seed, other, self.folder, self.model.config.preprocess
        )
        pictures = [drawer.picture(drawer.scene(index)) for index in range(SAMPLE_PICTURES)]
        return collate([(picture, []) for picture in pictures]).to(self._device)

    def _stage(
        self, stage: StageRecipe, steps: int | None, stop: Callable[[], bool]
    ) -> tuple[bool, int | None]:
        """Train until the stage's budget or `steps` are used up; return whether the stage is done, and the steps left."""
        batches = self._batches(stage)
        started = _cpu_seconds(self.place)
        try:
            while spent(stage, self.place) < 1:
                if stop() or (steps is not None and steps <= 0):
                    return False, 0
                drawn = next(batches)
                self._step(stage, drawn)
                self.place.batch += 1
                self.place.cpu_s = started() + drawn.cpu_s
                started = _cpu_seconds(self.place)
                steps = None if steps is None else steps - 1
                self._housekeeping(stage)
        finally:
            batches.close()  # type: ignore[attr-defined]
        return True, steps

    def _batches(self, stage: StageRecipe) -> Iterator[LoadedBatch]:
        drawer = SampleGenerator(
            self.recipe.seed, stage, self.folder, self.model.config.preprocess
        )
        if stage.kind == "decoder":
            cached = CachedPictures(drawer, self.model, stage.cached, self._device)
            cached.fill(self._progress, self._precision)
            return cached.batches(self.place.batch)
        return load_batches(drawer, self.place.batch, self._workers)

    def _precision(self) -> torch.autocast:
        # Autocast turns matrix products to bfloat16; weights, optimizer and losses stay float32.
        return torch.autocast(
            self._device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"
        )

    def _step(self, stage: StageRecipe, drawn: LoadedBatch) -> None:
        self.place.samples += drawn.pictures
        self.place.skipped += drawn.skipped
        if drawn.skipped:
            self._progress.note(f"{counted(drawn.skipped, 'image')} skipped: {drawn.reason}")
            seen = self.place.samples + sum(self.place.finished_samples)
            if self.place.skipped > 20 and self.place.skipped > MOST_SKIPPED * (
                seen + self.place.skipped
            ):
                raise TrainingStopped(
                    f"{self.place.skipped} of {seen + self.place.skipped} pictures could not be drawn; the last: {drawn.reason}"
                )
        if drawn.batch is None or self.optimizer is None:
            return
        share = spent(stage, self.place)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * rate(stage, share)
        losses = self._losses(stage, drawn.batch.to(self._device))
        loss = losses.total(stage.losses)
        if not bool(torch.isfinite(loss)):
            raise TrainingStopped(
                f"the loss is {loss.item()} at batch {self.place.batch} of stage '{stage.name}': lower its rates and "
                "start again from the saved state"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]], 1.0
        )
        self.optimizer.step()
        self._progress.step(stage, self.place, share, losses, drawn.pictures)

    def _losses(self, stage: StageRecipe, batch: Batch) -> Losses:
        recipe = self.recipe.model
        with self._precision():
            # Not around everything: it looks at every call of torch within it.
            with fastest_attention(self._device):
                seen = look(self.model, batch)
            if stage.kind == "dense":
                return dense_losses(self.network.heads, seen, batch)
            answers = answer_losses(
                self.model,
                self.network.heads,
                seen.features,
                batch,
                SupervisedHeads(recipe.taught_layer, recipe.taught_heads),
                stage.losses.softness,
                self._tokenizer.encode("0")[0],
                self._tokenizer.encode(NONE)[0],
                sure=stage.losses.sure > 0,
            )
            if stage.kind == "decoder":
                return answers
            dense = dense_losses(self.network.heads, seen, batch)
            return Losses({**answers.parts, **dense.parts}, {**answers.counts, **dense.counts})

    def _housekeeping(self, stage: StageRecipe) -> None:
        now = time.monotonic()
        if now - self._last_check >= self.recipe.check_every_s:
            self._check(stage)
            self._publish()
            self._last_check = time.monotonic()
        if now - self._last_save >= self.recipe.save_every_s:
            self.save()
            self._last_save = time.monotonic()

    @torch.no_grad()
    def _check(self, stage: StageRecipe) -> None:
        """Look at held-out pictures, whose seeds training never draws."""
        fresh = stage.model_copy(update={"kind": "dense" if stage.kind == "dense" else "joint"})
        drawer = SampleGenerator(
            self.recipe.seed, fresh, self.folder, self.model.config.preprocess, held_out=True
        )
        batches = load_batches(drawer, 0, 0)
        counts: dict[str, float] = {}
        for _ in range(-(-self.recipe.check_pictures // stage.batch)):
            batch = next(batches).batch
            if batch is not None:
                for name, value in self._losses(fresh, batch.to(self._device)).counts.items():
                    counts[name] = counts.get(name, 0.0) + value
        self._progress.checked(stage, self.place, counts, self.folder)

    def save(self) -> None:
        """Write the state."""
        save_state(self.folder, self.place, self._modules(), self.optimizer)


class _cpu_seconds:
    """Counts on from a place: calling it gives the stage's CPU-seconds so far, those of this process added."""

    def __init__(self, place: TrainPosition) -> None:
        self._base = place.cpu_s
        self._start = time.process_time()

    def __call__(self) -> float:
        return self._base + time.process_time() - self._start
