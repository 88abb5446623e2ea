"""The values that travel: requests, replies and publications, as frozen pydantic models that know no socket.

Unknown fields are ignored when reading: a newer peer of the same protocol version may send more. In the values (`Pointing`,
`Point`), which refuse them as typing mistakes, `codec.validate_lenient` leaves them out.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator

from molmo_point.defaults import MAX_CROPS, MAX_QUERIES, MAX_TIMEOUT_S, MAX_TOKENS
from molmo_point.images.formats import FileFormat
from molmo_point.points import FinishReason, Point, Pointing, Timing

VERSION = 1
"""Of the protocol. Raised only when an old peer would misread a new message; new optional fields do not raise it."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Token = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]
"""Printable ASCII without spaces."""

Side = Annotated[int, Field(ge=1, le=1_000_000)]
Stamp = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""Nanoseconds, as a signed 64-bit integer."""

Seconds = Annotated[float, Field(ge=0, le=1_000_000)]

MOST_PARTS = 512
"""Images or frames that a header describes; each server has lower limits of its own, which `hello` says."""


class Op(str, Enum):
    """What a request wants."""

    HELLO = "hello"
    POINT = "point"
    COUNT = "count"
    ASK = "ask"
    STREAM = "stream"
    STREAM_TEXT = "stream_text"
    OPEN = "open"
    CLOSE = "close"
    RESUME = "again"
    CANCEL = "cancel"
    WATCH = "watch"
    FRAME = "frame"
    UNWATCH = "unwatch"

    def __str__(self) -> str:
        return self.value


QUESTIONS = frozenset({Op.POINT, Op.COUNT, Op.ASK, Op.STREAM, Op.STREAM_TEXT})
"""The operations that carry a query and need an image or an opened view."""


class Header(BaseModel):
    """Base of all of them."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ImageHeader(Header):
    """How to read the image frame, or one image's part of it.

    Attributes:
        encoding: jpeg, png, webp, gif, avif, bmp, tiff, heic: a whole file. raw: pixels in rows from the top, without padding.
        size: (width, height) as stored in the file, before EXIF rotation. Optional for files; checked where it is given.
        shape: (height, width, 3) or (height, width); raw only.
        dtype: Always uint8; raw only.
        channels: Order of the three channels of raw pixels: rgb, or bgr as OpenCV keeps them.
        length: Bytes of this image in a frame that holds several.
    """

    encoding: FileFormat | Literal["raw"]
    size: tuple[Side, Side] | None = None
    shape: tuple[Side, Side, Literal[3]] | tuple[Side, Side] | None = None
    dtype: Literal["uint8"] | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    length: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _raw_says_its_shape(self) -> ImageHeader:
        if self.encoding == "raw" and (self.shape is None or self.dtype is None):
            raise ValueError('raw pixels need "shape" [height, width, 3] and "dtype" "uint8"')
        if self.encoding != "raw" and (self.shape is not None or self.dtype is not None):
            raise ValueError(f'"shape" and "dtype" are for raw pixels, not for {self.encoding}')
        if self.shape is not None and self.size not in (None, (self.shape[1], self.shape[0])):
            raise ValueError(f"size {self.size} does not fit shape {self.shape}")
        return self


class Request(Header):
    """The header of a request.

    Attributes:
        v: Version of this protocol.
        id: The caller's name for the request; every reply repeats it. The same id from the same client is the same request.
        client: A random name that the client keeps over reconnections; without it the connection stands for the client.
        op: What is wanted.
        query: What to point to, count or answer.
        timeout_s: Seconds from the arrival until the answer is of no more use. A span, not a time of day: the clocks of two
            machines differ.
        image: How to read the second frame, if there is one.
        images: In place of `image`: how to read a second frame that holds several images, or the frames of a video, one behind
            the other. They are asked about together.
        times_s: Makes `images` the frames of a video: their times in seconds, ascending.
        view: Handle from an `open`, in place of an image.
        camera: Name of the camera: of its waiting frames the newest wins, and answers are published under `points/<camera>`.
        stamp_ns: The image's time stamp; passed through untouched.
        frame_id: The image's coordinate frame; passed through untouched.
        queries: For `point` and `count`, in place of `query`: several about one image. Each is answered by a `pointing`, or an
            `error` that is not the last reply, in their order; `done` follows. For `watch`: what to look for in every frame.
        max_tokens: Longest answer in tokens, where the model can be told; the server's own limit holds in any case.
        detail: How finely the image is looked at, where the model can be told: "auto" as in training, "low" the global crop
            alone, or at most N crops; `timing` says what was done. By default the server's own choice.
        seq: For `again`: the number of the first reply that is missing.
    """

    v: int = VERSION
    id: Token
    client: Token | None = None
    op: Op
    query: str = ""
    timeout_s: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_S)] | None = None
    image: ImageHeader | None = None
    images: Annotated[tuple[ImageHeader, ...], Field(max_length=MOST_PARTS)] = ()
    times_s: Annotated[tuple[Seconds, ...], Field(max_length=MOST_PARTS)] = ()
    view: Token | None = None
    camera: Name | None = None
    stamp_ns: Stamp | None = None
    frame_id: Annotated[str, Field(max_length=256)] | None = None
    queries: Annotated[tuple[str, ...], Field(max_length=MAX_QUERIES)] = ()
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    detail: Union[Annotated[int, Field(ge=1, le=MAX_CROPS)], Literal["auto", "low"]] | None = None
    seq: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_way_to_bring_images(self) -> Request:
        if self.image is not None and self.images:
            raise ValueError('"image" or "images", not both')
        if any(header.length is None for header in self.images):
            raise ValueError('each of "images" needs its "length" in bytes')
        if self.times_s and len(self.times_s) != len(self.images):
            raise ValueError(f"{len(self.times_s)} times for {len(self.images)} frames")
        return self


ENVELOPE = frozenset({"v", "id", "client", "op", "image", "images", "times_s", "queries", "seq"})
"""Fields of a request that a body over HTTP does not have: its path, its headers and the image file say them."""


class ErrorBody(Header):
    """Why there is no answer.

    Attributes:
        kind: The class of the error, one word of docs/wire.md.
        message: What was expected and what came.
        advice: What to do about it.
    """

    kind: str
    message: str
    advice: str = ""


class ViewInfo(Header):
    """An opened image: its handle, and its (width, height) after EXIF rotation."""

    handle: Token
    image_size: tuple[Side, Side]


class ServerInfo(Header):
    """What a server says about itself, at any time, without asking the model.

    Attributes:
        version: Of the package.
        model: Name of the model, "" until it is loaded.
        ready: Whether questions are answered now.
        state: Readiness in words: loading, ready, stuck for 31 s, stopping.
        max_message_bytes: Largest frame it takes; a larger one ends the connection.
        max_pixels: Largest width x height it decodes; of several images together.
        max_images: Most images that one question may be about; 1 from servers of earlier versions.
        max_frames: Most frames of a video that one question may be about; 0 from servers of earlier versions.
        waiting: Questions in the queue, of `capacity`.
        publishes: Port of the PUB socket, or None.
        uptime_s: Seconds since it started.
    """

    name: str = "molmo-point"
    version: str
    model: str = ""
    ready: bool
    state: str
    max_message_bytes: int
    max_pixels: int
    max_images: int = 1
    max_frames: int = 0
    waiting: int = 0
    capacity: int = 0
    publishes: int | None = None
    uptime_s: float = 0.0


class Reply(Header):
    """One reply to a request; a stream is several with rising `seq`, and exactly one has `last` set.

    `type` names the field that holds the value: `pointing`, `point`, `text` (also for `piece`), `view`, `server` (for `hello`),
    `error`. `pending` (still running) and `done` carry none. `finish_reason` comes with `text`: why the text ended; None from a
    server that does not say; `timing`, too, where the model knows how many tokens it read and wrote. An `error` that is not
    the last reply is that of one of several queries.
    """

    v: int = VERSION
    id: str
    seq: int = 0
    last: bool = True
    type: Literal[
        "pointing", "point", "text", "piece", "view", "hello", "pending", "done", "error"
    ]
    pointing: Pointing | None = None
    point: Point | None = None
    text: str | None = None
    finish_reason: FinishReason | None = None
    timing: Timing | None = None
    view: ViewInfo | None = None
    server: ServerInfo | None = None
    error: ErrorBody | None = None


class Track(Header):
    """What is known about one published point besides where it is.

    Attributes:
        id: Stays the same while the same thing is followed; never used twice.
        evidence_stamp_ns: Stamp of the frame in which the model last saw it.
        evidence_age_s: How old that frame is, seconds, measured where the tracking runs.
    """

    id: int
    evidence_stamp_ns: int | None = None
    evidence_age_s: Annotated[float, Field(ge=0)]


class Publication(Header):
    """What goes out under `points/<camera>`: an answer, or points carried along since one.

    Attributes:
        camera: Where the image came from.
        pointing: The points in the frame with its `stamp_ns` and `frame_id`.
        tracks: One for each point, in the same order; empty for a plain answer, whose evidence is the frame itself.
        evidence_stamp_ns: Stamp of the frame that the model's last complete answer to this query is about; None before one.
        evidence_age_s: How old that frame is, seconds; None before the first complete answer.
    """

    v: int = VERSION
    camera: Name
    pointing: Pointing
    tracks: tuple[Track, ...] = ()
    evidence_stamp_ns: int | None = None
    evidence_age_s: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_track_a_point(self) -> Publication:
        if self.tracks and len(self.tracks) != len(self.pointing.points):
            raise ValueError(f"{len(self.tracks)} tracks for {len(self.pointing.points)} points")
        return self
