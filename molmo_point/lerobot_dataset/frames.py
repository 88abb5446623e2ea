"""Images of a camera at chosen frames: out of the table, or out of videos through PyAV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from molmo_point.errors import UsageError
from molmo_point.image_like import ImageLike
from molmo_point.install import import_failure
from molmo_point.lerobot_dataset.layout import Dataset, Video

if TYPE_CHECKING:
    import pyarrow as pa


class Frames:
    """The images of one camera.

    Raises:
        MissingExtra: They lie in videos, and PyAV is not installed.
    """

    def __init__(self, dataset: Dataset, camera: str) -> None:
        self._dataset = dataset
        self._camera = camera
        self._videos: dict[int, Video] | None = None
        if dataset.is_video(camera):
            self._videos = dataset.videos(camera)
            self._av = _av()

    def of(
        self, table: pa.Table, rows: Sequence[int]
    ) -> Iterator[tuple[int, ImageLike | UsageError]]:
        """Yield (row, image) for rows of a data file in ascending order; an image that is missing is its error."""
        if self._videos is None:
            yield from ((row, self._stored(table, row)) for row in rows)
            return
        episodes = table.column("episode_index")
        stamps = table.column("timestamp")
        for episode in sorted({episodes[row].as_py() for row in rows}):
            mine = [row for row in rows if episodes[row].as_py() == episode]
            try:
                if episode not in self._videos:
                    raise UsageError(f"meta/episodes has no video of episode {episode}")
                yield from self._decoded(
                    self._videos[episode], [(r, stamps[r].as_py()) for r in mine]
                )
            except UsageError as error:
                yield from ((row, error) for row in mine)

    def _stored(self, table: pa.Table, row: int) -> ImageLike | UsageError:
        value = table.column(self._camera)[row].as_py()
        data = value.get("bytes") if isinstance(value, dict) else None
        if data:
            return bytes(data)
        path = value.get("path") if isinstance(value, dict) else None
        if path and (self._dataset.folder / path).is_file():
            return self._dataset.folder / path
        return UsageError(f"{self._camera} has no image in row {row}")

    def _decoded(
        self, video: Video, wanted: Sequence[tuple[int, float]]
    ) -> Iterator[tuple[int, ImageLike | UsageError]]:
        """Yield the frame nearest to each time within half a frame; times count from the episode's start."""
        half_s = 0.5 / self._dataset.fps
        times = [(row, video.start_s + seconds) for row, seconds in wanted]
        try:
            with self._av.open(str(video.path)) as container:
                stream = container.streams.video[0]
                container.seek(
                    max(0, int((times[0][1] - 1.0) / float(stream.time_base))), stream=stream
                )
                frames = container.decode(stream)
                frame = next(frames, None)
                for row, time_s in times:
                    while frame is not None and float(frame.time) < time_s - half_s:
                        frame = next(frames, None)
                    if frame is None or float(frame.time) > time_s + half_s:
                        yield row, UsageError(f"{video.path.name} has no frame at {time_s:.3f} s")
                        continue
                    yield row, frame.to_ndarray(format="rgb24")
        except (OSError, IndexError, self._av.FFmpegError) as error:
            raise UsageError(f"{video.path} cannot be decoded: {error}") from error


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise import_failure(error, "av", "lerobot", "Videos of a LeRobot dataset") from error
    return av
