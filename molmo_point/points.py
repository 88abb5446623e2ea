"""The values of the package: `Point`, and `Pointing`, the answer to a query.

Coordinates are `norm`: 0-1 of the original image after EXIF rotation, origin in the top left corner, x right, y down
(docs/conventions.md). Both types are frozen pydantic models: the same type in Python, on ZMQ, over HTTP and in JSON files.
"""

from __future__ import annotations

from collections.abc import Iterator, KeysView, Mapping
from enum import Enum
from typing import Annotated, Literal, Union, overload

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from molmo_point.wording import counted

Unit = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Covariance = tuple[float, float, float]
"""(xx, xy, yy) of a 2D Gaussian, in normalized units squared."""


class Status(str, Enum):
    """Kind of an answer. An error is an exception, never a status."""

    PENDING = "pending"
    """No answer yet (continuous pointing before the first answer, or after tracking lost every point). Says nothing about
    whether anything matches; `points` is empty."""
    FOUND = "found"
    """At least one point; the answer is complete."""
    NOT_FOUND = "not_found"
    """The model says that nothing in the image matches."""
    TRUNCATED = "truncated"
    """A deadline or a token limit ended the answer; `points` holds the complete points."""
    MALFORMED = "malformed"
    """The text cannot be parsed as points; `text` holds it. Nothing is guessed."""

    def __str__(self) -> str:
        return self.value


class FinishReason(str, Enum):
    """Why a text ended."""

    STOP = "stop"
    """The model ended the text: it is complete."""
    LENGTH = "length"
    """The token limit ended the text: it is cut."""
    TIMEOUT = "timeout"
    """The deadline ended the text: it is cut."""

    def __str__(self) -> str:
        return self.value


class Text(str):
    """A free answer: a `str` with a finish reason.

    Attributes:
        finish_reason: `stop` for a complete answer; `length` or `timeout` for a cut one.
        timing: Amounts of work: `prompt_tokens` and `new_tokens`; zeros where the pointer does not know.
    """

    finish_reason: FinishReason
    timing: Timing

    def __new__(
        cls,
        text: str,
        finish_reason: FinishReason = FinishReason.STOP,
        timing: Timing | None = None,
    ) -> Text:
        self = super().__new__(cls, text)
        self.finish_reason = FinishReason(finish_reason)
        self.timing = timing or Timing()
        return self

    @classmethod
    def of(cls, text: str) -> Text:
        """Return `text` as a `Text`; a plain string counts as complete."""
        return text if isinstance(text, Text) else cls(text)

    @property
    def complete(self) -> bool:
        """Whether the model itself ended the text."""
        return self.finish_reason is FinishReason.STOP


class Point(BaseModel):
    """A position in an image.

    Attributes:
        x: Horizontal position, 0-1 of the image's width, 0 at the left edge.
        y: Vertical position, 0-1 of the image's height, 0 at the top edge.
        label: The model's name for the object.
        score: Probability 0-1 that the point is on a matching object, or None if unknown.
        covariance: (xx, xy, yy) in normalized units squared, or None if unknown.
        index: Position in the answer, from 0.
        image_index: Which of several images, or which frame of a video, from 0.
        time_s: Time of that frame in seconds; None in images.
        track: Number of the object in an answer that follows objects through a video; the same at all times. None elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Unit
    y: Unit
    label: str = ""
    score: Unit | None = None
    covariance: Covariance | None = None
    index: int = Field(default=0, ge=0)
    image_index: int = Field(default=0, ge=0)
    time_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    track: int | None = Field(default=None, ge=1)

    @field_validator("covariance")
    @classmethod
    def _positive_semidefinite(cls, value: Covariance | None) -> Covariance | None:
        if value is None:
            return None
        xx, xy, yy = value
        # Tolerance for rounding of float32 sums.
        if not (xx >= 0 and yy >= 0 and xy * xy <= xx * yy * (1 + 1e-6) + 1e-15):
            raise ValueError(
                f"expected a positive semidefinite covariance (xx, xy, yy), got {value}"
            )
        return value

    def pixel(self, width: int, height: int) -> tuple[float, float]:
        """Return (px, py) in continuous pixels of an image of that size: pixel (i, j) covers [i, i+1) x [j, j+1).

        OpenCV and ROS put pixel centres on integers: subtract 0.5 from both for those.
        """
        return self.x * width, self.y * height


class Timing(BaseModel):
    """Times of one answer in seconds, and amounts of work.

    Attributes:
        preprocess_s: Image to crops and token ids.
        vision_s: Crops to image embeddings; 0 when they came from a cache.
        prefill_s: Prompt through the decoder, up to the first logits.
        decode_s: All later decoder passes.
        total_s: From the call to the answer.
        queue_s: Waiting in a server's queue.
        prompt_tokens: Length of the decoder's input, image tokens included.
        new_tokens: Tokens of the answer, the end token included.
        forward_passes: Decoder passes after the prefill.
        crops: Number of crops that the vision tower encoded for this answer.
        detail: How finely the image was looked at: "auto" as in training, "low" the global crop alone, or at most N crops.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preprocess_s: float = 0.0
    vision_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    total_s: float = 0.0
    queue_s: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    forward_passes: int = 0
    crops: int = 0
    detail: Union[int, Literal["auto", "low"]] = "auto"


class Tiling(BaseModel):
    """How an image was counted in tiles.

    Attributes:
        columns, rows: Of the tiles; 1 x 1 where the look at the whole image was enough.
        looks: Number of answers of the model, the first look and divided tiles included.
        seam_duplicates: Number of points that were taken for one with a point of another tile.
        whole_count: What the look at the whole image counted; None where its answer was incomplete.
        agrees: Whether `whole_count` and the tiles' count differ by at most a tenth, or by 1; None where one is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: int = Field(ge=1)
    rows: int = Field(ge=1)
    looks: int = Field(ge=1)
    seam_duplicates: int = Field(default=0, ge=0)
    whole_count: int | None = Field(default=None, ge=0)
    agrees: bool | None = None


_SHOWN = 4
"""Number of points in the `repr` of an answer."""


def _short(point: Point, width: int, height: int) -> str:
    """Return pixels, label and score of a point as a short text."""
    x, y = point.pixel(width, height)
    label = " " + " ".join(point.label.split())[:24] if point.label else ""
    score = f" {100 * point.score:.0f} %" if point.score is not None else ""
    return f"({x:.1f}, {y:.1f}){label}{score}"


class Pointing(BaseModel):
    """The answer to a query about an image. `str` is one short line; `model_dump_json()` has all fields.

    It is a collection of its points: `len`, iteration, indices and slices are those of `points`. Its truth value is True in any
    case: `status` says whether something matches, nothing does, or the answer is incomplete. `dict(pointing)` gives the fields.

    Attributes:
        query: The query as the caller wrote it.
        points: In the order of the answer.
        status: found, not_found, truncated, malformed, or pending (continuous pointing only).
        stated_count: The number in the model's text ("a total of 3"), or None; compare with `count`.
        duplicates: Number of points that repeat an earlier position; they are not in `points`.
        absent_probability: Probability 0-1 that nothing in the image matches, or None.
        text: The model's raw text.
        image_size: (width, height) in pixels of the original image after EXIF rotation; of several images, the first.
        image_sizes: Those of all images where several were asked about; () for one image, and for a video.
        model: Name of the model that answered.
        stamp_ns: The caller's time stamp of the image, in nanoseconds, copied from the call.
        frame_id: The caller's coordinate frame of the image, copied from the call.
        timing: Times of the answer.
        count_interval: (low, high): with probability 0.9 the true number lies in it, ends included; None where the checkpoint has
            no calibration of counts, and for answers that do not count.
        tiling: How the image was counted in tiles; None where it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str
    points: tuple[Point, ...] = ()
    status: Status
    stated_count: int | None = Field(default=None, ge=0)
    duplicates: int = Field(default=0, ge=0)
    absent_probability: Unit | None = None
    calibrated: bool = False
    """Whether `score`, `covariance` and `absent_probability` are calibrated for this model, on images like this one."""
    in_domain: Unit | None = None
    """Probability 0-1 that the image is like those that the calibration was fitted on; None where the calibration does not know
    them, or there is none. Below 0.5 `calibrated` is false and scores are lowered."""
    text: str = ""
    image_size: tuple[int, int]
    image_sizes: tuple[tuple[int, int], ...] = ()
    model: str = ""
    stamp_ns: int | None = None
    frame_id: str | None = None
    timing: Timing = Timing()
    count_interval: tuple[int, int] | None = None
    tiling: Tiling | None = None

    @field_validator("image_size")
    @classmethod
    def _positive_size(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 1:
            raise ValueError(f"expected image_size (width, height) of at least 1x1, got {value}")
        return value

    @model_validator(mode="after")
    def _status_fits_points(self) -> Pointing:
        if self.status is Status.FOUND and not self.points:
            raise ValueError("status 'found' needs at least one point; use 'not_found'")
        if self.status in (Status.NOT_FOUND, Status.PENDING) and self.points:
            raise ValueError(f"status '{self.status}' with {len(self.points)} points")
        return self

    @property
    def count(self) -> int:
        """Number of points; more reliable than `stated_count`."""
        return len(self.points)

    @property
    def count_agrees(self) -> bool | None:
        """Whether `stated_count` equals `count`; None if the model stated no number."""
        return None if self.stated_count is None else self.stated_count == self.count

    def __repr__(self) -> str:
        width, height = self.image_size
        shown = ", ".join(_short(point, width, height) for point in self.points[:_SHOWN])
        more = f", and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        points = f": {shown}{more}" if shown else ""
        size = f"{counted(self.count, 'point')} in {width}x{height}"
        by = f" by {self.model}" if self.model else ""
        return (
            f"<Pointing {' '.join(self.query.split())[:60]!r} {self.status}, {size}{by}{points}>"
        )

    __str__ = __repr__

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:  # type: ignore[override]
        return iter(self.points)

    @overload
    def __getitem__(self, key: int) -> Point: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Point, ...]: ...
    @overload
    def __getitem__(self, key: str) -> object: ...
    def __getitem__(self, key: int | slice | str) -> Point | tuple[Point, ...] | object:
        """Return a point by its index, some by a slice, or a field by its name."""
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(key)
            return getattr(self, key)
        try:
            return self.points[key]
        except IndexError:
            raise IndexError(
                f"there is no point {key} in an answer with {counted(self.count, 'point')} (status {self.status})"
            ) from None

    def keys(self) -> KeysView[str]:
        """Return the names of the fields: `dict(pointing)` calls it."""
        return type(self).model_fields.keys()

    def __bool__(self) -> bool:
        """Return True: an answer without points may be incomplete, so its truth value does not say that nothing matches."""
        return True

    def best(self) -> Point | None:
        """Return the point with the highest score (the first point if there are no scores), or None if there are no points."""
        return max(self.points, key=lambda p: -1.0 if p.score is None else p.score, default=None)

    def pixels(self) -> list[tuple[float, float]]:
        """Return every point in continuous pixels of the original image, of several images each in its own."""
        return [point.pixel(*self.size_of(point)) for point in self.points]

    def size_of(self, point: Point) -> tuple[int, int]:
        """Return (width, height) in pixels of the image that a point lies in."""
        return self.image_sizes[point.image_index] if self.image_sizes else self.image_size

    def replace(self, **changes: object) -> Pointing:
        """Return a validated copy with some fields replaced."""
        fields: Mapping[str, object] = {
            name: getattr(self, name) for name in type(self).model_fields
        }
        return Pointing.model_validate({**fields, **changes})
