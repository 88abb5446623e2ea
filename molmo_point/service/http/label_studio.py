"""A machine learning backend of Label Studio: key points and counts, the queries taken from the labelling configuration."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urljoin, urlsplit

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request as HttpRequest

from molmo_point.convert import to_label_studio
from molmo_point.defaults import MAX_QUERIES
from molmo_point.errors import ServiceError, TimedOut, UsageError
from molmo_point.points import Pointing, Status
from molmo_point.service.http.bodies import check, read_json
from molmo_point.service.http.body_images import image_bytes
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.label_config import LabelConfig
from molmo_point.service.http.submit import HttpSubmitter
from molmo_point.wire import Op, error_from
from molmo_point.wording import counted

TOKEN_VARIABLE = "LABEL_STUDIO_API_KEY"
"""Environment variable with the token for images in Label Studio's own storage; without it that of `POST /setup` is used."""


class SetupBody(BaseModel):
    """What Label Studio sends when the backend is connected."""

    model_config = ConfigDict(extra="ignore")

    label_config: str = Field(default="", alias="schema")
    access_token: str | None = None


class Task(BaseModel):
    """One task."""

    model_config = ConfigDict(extra="ignore")

    id: int | None = None
    data: dict[str, Any]


class PredictBody(BaseModel):
    """What Label Studio sends for predictions."""

    model_config = ConfigDict(extra="ignore")

    tasks: list[Task] = Field(max_length=1000)
    label_config: str


class Storage:
    """Label Studio's own images. Its token goes to Label Studio alone, to no other host and port.

    Args:
        url: Where Label Studio is.
        max_bytes: Largest image.
        others: Fetches images of other allowed hosts.
    """

    def __init__(self, url: str, max_bytes: int, others: Fetcher) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"expected Label Studio's address as http://HOST:PORT, got {url!r}")
        self._url = url.rstrip("/") + "/"
        self._origin = (parts.scheme, parts.netloc)
        self._max_bytes = max_bytes
        self._others = others
        self.token = os.environ.get(TOKEN_VARIABLE, "")

    async def image(self, http: HttpRequest, value: object) -> bytes:
        """Return the image behind a value of a task's data: a path of Label Studio, a URL, or a data: URL.

        Raises:
            Refused: Of a host that is not allowed.
            ImageError: It cannot be fetched.
        """
        if not isinstance(value, str) or not value:
            raise UsageError(
                f"expected the image's address in the task's data, got {str(value)[:80]!r}"
            )
        if value.startswith("/"):
            value = urljoin(self._url, value)
        parts = urlsplit(value)
        if (parts.scheme, parts.netloc) != self._origin:
            return await image_bytes(http, value, self._others)
        # Of what it keeps Label Studio serves no image to those who ask for images only.
        headers = {"Accept": "*/*"}
        if self.token:
            headers["Authorization"] = f"Token {self.token}"
        # The operator named this host: it may be inside the network.
        own = Fetcher(
            [parts.hostname or ""], max_bytes=self._max_bytes, inner=True, headers=headers
        )
        return await image_bytes(http, value, own)


def label_studio_router(submitter: HttpSubmitter, fetcher: Fetcher, url: str) -> APIRouter:
    """Return the routes of a backend for the Label Studio at `url`."""
    router = APIRouter(tags=["label studio"], include_in_schema=False)
    worker = submitter.dispatcher.worker
    storage = Storage(url, submitter.dispatcher.settings.max_message_bytes, fetcher)

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "molmo-point", "model_version": worker.model}

    @router.post("/setup")
    async def setup(http: HttpRequest) -> dict[str, str]:
        body = check(SetupBody, await read_json(http))
        if body.label_config:
            LabelConfig.of(body.label_config)
        if body.access_token and not os.environ.get(TOKEN_VARIABLE):
            storage.token = body.access_token
        return {"model_version": worker.model}

    @router.post("/versions")
    async def versions() -> dict[str, list[str]]:
        return {"versions": [worker.model] if worker.model else []}

    @router.post("/webhook")
    async def webhook() -> dict[str, str]:
        return {"status": "nothing is trained here"}

    @router.post("/predict")
    async def predict(http: HttpRequest) -> dict[str, Any]:
        body = check(PredictBody, await read_json(http))
        config = LabelConfig.of(body.label_config)
        if len(config.queries) > MAX_QUERIES:
            raise UsageError(
                f"label_config: {len(config.queries)} labels, one task may have {MAX_QUERIES}"
            )
        results = [await _predict(submitter, http, storage, config, task) for task in body.tasks]
        return {"results": results, "model_version": worker.model}

    return router


async def _predict(
    submitter: HttpSubmitter, http: HttpRequest, storage: Storage, config: LabelConfig, task: Task
) -> dict[str, Any]:
    """Return the prediction of one task: every label is asked of the image, which is encoded once."""
    data = await storage.image(http, task.data.get(config.image))
    answers: dict[str, Pointing] = {}
    async for reply in submitter.replies(http, Op.POINT, data, queries=config.queries):
        if reply.error is not None:
            raise error_from(reply.error)
        if reply.pointing is not None:
            answers[reply.pointing.query] = _whole(reply.pointing)
    regions: list[Any] = []
    for label in config.labels:
        regions += _regions(answers[label.query], label.value, label.from_name, label.to_name)
    points = len(regions)
    for count in config.counts:
        number = points if count.query is None else answers[count.query].count
        place = {"from_name": count.from_name, "to_name": count.to_name, "type": "number"}
        regions.append({"id": f"count-{count.from_name}", **place, "value": {"number": number}})
    scores = [point.score for answer in answers.values() for point in answer.points]
    known = [score for score in scores if score is not None]
    score = {"score": min(known)} if known else {}
    return {"result": regions, "model_version": submitter.dispatcher.worker.model, **score}


def _whole(pointing: Pointing) -> Pointing:
    """Refuse an answer that is not whole: its regions would look like everything there is."""
    if pointing.status is Status.MALFORMED:
        raise ServiceError("the model's answer could not be read as points")
    if pointing.status is Status.TRUNCATED:
        raise TimedOut(f"the answer was cut short after {counted(pointing.count, 'point')}")
    return pointing


def _regions(pointing: Pointing, value: str, from_name: str, to_name: str) -> list[Any]:
    points = tuple(point.model_copy(update={"label": value}) for point in pointing.points)
    task = to_label_studio(pointing.replace(points=points), from_name=from_name, to_name=to_name)
    regions: list[Any] = task["predictions"][0]["result"]
    return [{**region, "id": f"{value}-{region['id']}"} for region in regions]
