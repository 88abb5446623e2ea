"""`MolmoPointModel`: lmms-eval's requests, answered by a Pointer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from lmms_eval.api.model import lmms

from molmo_point import api
from molmo_point.errors import PointError, UsageError
from molmo_point.lmms_eval_model.prompts import TaskPrompt, read_prompt
from molmo_point.markup.noun_phrase import noun_phrase
from molmo_point.points import Status

if TYPE_CHECKING:
    from molmo_point.pointer import Pointer

log = logging.getLogger(__name__)


class MolmoPointModel(lmms):  # type: ignore[misc]
    """A local checkpoint or a server, as `--model molmo_point`.

    Args (of `--model_args`, name=value between commas):
        model: A name or folder for `load`.
        connect: Address of a server, in the place of `model`.
        raw: Pass every prompt on as a question; otherwise the questions of the tasks in `prompts` are pointed at or counted.
        timeout_s: For each question; None is the pointer's own.
        concurrency: Questions asked at the same time, for a server.
        options: Further keyword arguments of `load` or `connect`, such as device and quantize.

    Raises:
        UsageError: Both `model` and `connect`, or neither.
    """

    def __init__(
        self,
        model: str | None = None,
        connect: str | None = None,
        raw: bool = False,
        timeout_s: float | None = None,
        concurrency: int = 1,
        batch_size: int | str = 1,
        device: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if (model is None) == (connect is None):
            raise UsageError(
                "expected --model_args model=NAME or connect=URL, "
                f"got {'both' if model else 'neither'}"
            )
        del batch_size  # lmms-eval hands it to every class; a Pointer batches by itself
        self._timeout_s = timeout_s
        self._raw = _truth(raw)
        self._concurrency = max(1, int(concurrency))
        if connect is not None:
            self._pointer: Pointer = api.connect(connect, **options)
        else:
            if device is not None:
                options["device"] = device
            self._pointer = api.load(str(model), **options)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer requests in order. A question that fails gets an empty answer, which no task counts as right, and a warning."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            answers = list(pool.map(self._answered, requests))
        failed = answers.count(None)
        if failed:
            log.warning("%d of %d questions failed and got an empty answer", failed, len(answers))
        return [answer or "" for answer in answers]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refused: a Pointer gives points and text, no likelihoods of given answers."""
        raise NotImplementedError(
            "molmo_point answers tasks of output_type generate_until only; this task wants likelihoods of given answers"
        )

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused: every question of a Pointer stands for itself."""
        raise NotImplementedError(
            "molmo_point answers single questions; this task has several rounds"
        )

    def _answered(self, request: Any) -> str | None:
        context, _, doc_to_visual, doc_id, task, split = request.args
        try:
            return self._answer(str(context), doc_to_visual, self.task_dict[task][split][doc_id])
        except PointError as error:
            log.warning("%s, document %s: %s", task, doc_id, error)
            return None

    def _answer(self, context: str, doc_to_visual: Callable[[Any], list[Any]], doc: Any) -> str:
        images = doc_to_visual(doc)
        if not images:
            raise UsageError("expected an image in the document, got none")
        image: Any = images[0] if len(images) == 1 else images
        prompt = None if self._raw else read_prompt(context)
        if prompt is None:
            return str(self._pointer.ask(image, context, timeout_s=self._timeout_s))
        return self._points(image, prompt)

    def _points(self, image: Any, prompt: TaskPrompt) -> str:
        ask = self._pointer.count if prompt.kind == "count" else self._pointer.point
        pointing = ask(image, noun_phrase(prompt.query), timeout_s=self._timeout_s)
        if pointing.status is Status.MALFORMED:
            # The task's parser judges what the model wrote, as it would without this class.
            return pointing.text
        if pointing.status is Status.TRUNCATED:
            log.warning(
                "%r: the answer was cut short; its points so far are what is scored", prompt.query
            )
        return prompt.answer(pointing)


def _truth(value: object) -> bool:
    """Return a flag of `--model_args`, which lmms-eval passes on as text."""
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes")
