"""Fine-tune a checkpoint on labelled images: a kind of run of the training loop (`training_run`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molmo_point.checkpoints.hub import resolve
from molmo_point.errors import UsageError
from molmo_point.train.curves import FINETUNING, draw_curves
from molmo_point.train.data_loader import load_batches
from molmo_point.train.finetune_data import FinetuneData
from molmo_point.train.finetune_export import export
from molmo_point.train.finetune_network import (
    build,
    check_base,
    make_optimizer,
    trained_parameters,
)
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.losses import Losses
from molmo_point.train.packed_batches import LabelledBatches, StepBatch
from molmo_point.train.progress import Progress, drop_log_after
from molmo_point.train.run_folder import open_finetune_folder
from molmo_point.train.schedule import cosine_scale
from molmo_point.train.sharding import Processes, shard
from molmo_point.train.state import STATE_FILE, load_state
from molmo_point.train.token_loss import AnswerLoss, mean_loss
from molmo_point.train.training_run import TrainingRun


def finetune(
    recipe: FinetuneRecipe,
    data: FinetuneData,
    folder: str | Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    progress: Progress | None = None,
    stop_after: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    processes: Processes = Processes(),  # noqa: B008 - frozen
    tensorboard: bool = False,
) -> Path:
    """Fine-tune a checkpoint or resume an interrupted run; return the folder of the best checkpoint or adapter.

    Args:
        folder: The run's folder; created if missing.
        device: "cpu", "cuda" or "cuda:N".
        workers: Processes that read and cut images; 0 does it in this one.
        progress: Where to report; None is silent.
        stop_after: Save and stop after this many steps of this call; None runs to the end.
        stop: Called before every step; True saves and stops.
        processes: Of `join_processes`; several shard the network and share each batch.
        tensorboard: Also write losses, rates and evaluations for TensorBoard, into the run's folder.

    Raises:
        UsageError: The checkpoint cannot be trained, the folder belongs to another run, or there is nothing to train on.
        TrainingStopped: Disk full, a worker died, loss or gradients are not finite, too many images cannot be read.
    """
    run = FinetuneRun(
        recipe, data, Path(folder), torch.device(device), progress, processes, tensorboard
    )
    try:
        return run.go(workers, stop_after, stop)
    finally:
        run.close()


class FinetuneRun(TrainingRun[StepBatch]):
    """A fine-tuning run."""

    def __init__(
        self,
        recipe: FinetuneRecipe,
        data: FinetuneData,
        folder: Path,
        device: torch.device,
        progress: Progress | None = None,
        processes: Processes = Processes(),  # noqa: B008 - frozen
        tensorboard: bool = False,
    ) -> None:
        self._processes = processes
        base = resolve(recipe.base)
        config = check_base(base)
        if recipe.batch % processes.count:
            raise UsageError(
                f"a batch of {recipe.batch} images cannot be shared by {processes.count} processes: give a multiple of them"
            )
        self._batches = LabelledBatches(
            data.training,
            recipe,
            base,
            config.preprocess,
            rank=processes.rank,
            world=processes.count,
        )
        if not self._batches.images:
            raise UsageError("there is no image to train on")
        self.recipe, position = open_finetune_folder(
            recipe, base, data.training, folder, writes=processes.is_first
        )
        processes.wait()
        super().__init__(
            folder,
            position,
            device,
            progress if progress and processes.is_first else Progress(None),
            precision=self.recipe.precision,
            save_every_s=self.recipe.save_every_s,
            tensorboard=tensorboard and processes.is_first,
        )
        self._base, self._data = base, data
        self.model = build(base, config, self.recipe, device)
        self.network = AnswerLoss(
            self.model, checkpointing=self.recipe.checkpointing, dropout=self.recipe.dropout
        )
        if processes.count > 1:
            shard(self.network)
        self.steps = self.recipe.total_steps(self._batches.images)
        self._trained = trained_parameters(self.model)
        self.optimizer = make_optimizer(self.model, self.recipe, self.steps)
        if (folder / STATE_FILE).exists():
            load_state(folder, self.modules(), self.optimizer)
        if processes.is_first:
            drop_log_after(folder, position.batch)
        self._losses: list[float] = []

    def go(self, workers: int, stop_after: int | None, stop: Callable[[], bool]) -> Path:
        """Train to the end, or until it is stopped; return the folder of the best checkpoint or adapter."""
        if self._processes.count > 1:
            # A signal reaches the processes at different steps, and all must stop at the same one.
            asked = stop
            stop = lambda: self._processes.total(float(asked()), self._device) > 0  # noqa: E731
        if self.position.stage == 0:
            done, _ = self.run_steps(
                load_batches(self._batches, self.position.batch, workers), stop_after, stop
            )
            if done and self.position.batch % self._evaluate_every:
                self._evaluate()
            if done:
                self.position.stage = 1
            self.save()
        if self._processes.is_first and (self.folder / "log.jsonl").exists():
            draw_curves(self.folder, FINETUNING)
        return self.folder / "best"

    def modules(self) -> dict[str, nn.Module]:
        """Return what is trained."""
        return {"trained": self._trained}

    @property
    def writes_files(self) -> bool:
        """Whether this is the first process."""
        return self._processes.is_first

    def used_share(self) -> float:
        """Return the used share of the steps."""
        return self.position.batch / self.steps

    def rate_scale(self, group: dict[str, Any]) -> float:
        """Return the rate of a group: linear warm-up, then a cosine."""
        return cosine_scale(self.position.batch, group["warmup"], self.steps, self.recipe.floor)

    def clipped_groups(self, optimizer: torch.optim.Optimizer) -> list[list[nn.Parameter]]:
        """Return each part by itself, as in Molmo's training."""
        return [group["params"] for group in optimizer.param_groups]

    def losses_of(self, batch: StepBatch) -> Iterator[tuple[Losses, Tensor]]:
        """Yield the losses of each forward pass; their sums over the step are means over all tokens of all processes."""
        if self.recipe.dropout:
            # Seeded by the step, so that a resumed run draws what an unbroken one does.
            torch.manual_seed(
                hash((self.recipe.seed, self.position.batch, self._processes.rank)) % 2**63
            )
        weight = self._processes.total(batch.weight, self._device)
        for part in batch.parts:
            with self.autocast():
                answer, normalizer = self.network(part.to(self._device))
            parts = {"answer": answer / weight, "z": self.recipe.z_loss * normalizer / weight}
            # Gradients of several processes are averaged.
            total = (parts["answer"] + parts["z"]) * self._processes.count
            yield Losses(parts, {}), total

    def report(self, losses: Sequence[Losses], images: int) -> None:
        """Report a step."""
        self._losses.append(sum(float(each.parts["answer"].detach()) for each in losses))
        self._progress.step("finetune", self.used_share(), self.position, losses, images)

    @property
    def _evaluate_every(self) -> int:
        return self.recipe.evaluate_every or max(1, self.steps // 5)

    def evaluate_when_due(self) -> None:
        """Evaluate, write the adapter or checkpoint, and keep it if it is the best one so far."""
        if self.position.batch % self._evaluate_every == 0:
            self._evaluate()

    @torch.no_grad()
    def _evaluate(self) -> None:
        row: dict[str, object] = {
            "step": self.position.batch,
            "images": self.position.samples,
            "cpu_s": round(self.position.cpu_s, 1),
            "skipped": self.position.skipped,
        }
        if self._losses:
            mean = sum(self._losses) / len(self._losses)
            row["training_loss"] = round(self._processes.total(mean, self._device), 5)
            self._losses = []
        score = None
        if self._data.held_out:
            self.model.eval()
            loss = self.held_out_loss()
            row["held_out_loss"] = round(loss, 5)
            score = -loss
            if self._data.score is not None and self._processes.count == 1:
                score = self._data.score(self.model, self._base)
                row["held_out_f1"] = round(score, 5)
            self.model.train()
        self._keep(score)
        row["best_step"] = self.position.best_batch
        self.log(row)
        self._progress.note("  ".join(f"{name} {value}" for name, value in row.items()))

    def _keep(self, score: float | None) -> None:
        """Write the last adapter or checkpoint, and the best one where this is it."""
        best = self.position.best_score
        names = ["last"]
        if score is None or best is None or score > best:
            self.position.best_score, self.position.best_batch = score, self.position.batch
            names.append("best")
        for name in names:
            export(
                self.model,
                self.recipe,
                self._base,
                self.folder / name,
                writes=self._processes.is_first,
            )

    def held_out_loss(self) -> float:
        """Return the loss on held-out images."""
        batches = LabelledBatches(
            [(self._data.held_out, 1.0)],
            self.recipe,
            self._base,
            self.model.config.preprocess,
            shuffled=False,
        )
        with self.autocast():
            return mean_loss(self.network, batches, self._device)
