"""The files and features of a LeRobot dataset of version 3 (https://huggingface.co/docs/lerobot/lerobot-dataset-v3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molmo_point.errors import UsageError
from molmo_point.install import import_failure

if TYPE_CHECKING:
    import pyarrow as pa

EVENTS = "language_events"
PERSISTENT = "language_persistent"
LANGUAGE_FEATURE = {"dtype": "language", "shape": [1], "names": None}


@dataclass(frozen=True)
class Video:
    """Where an episode lies in a camera's video: the file, and the episode's start in it in seconds."""

    path: Path
    start_s: float


@dataclass(frozen=True)
class Dataset:
    """A dataset of version 3.

    Attributes:
        folder: With meta, data and videos.
        info: Of meta/info.json.
        tables: Its data files, relative to the folder.
    """

    folder: Path
    info: dict[str, Any]
    tables: tuple[Path, ...]

    @property
    def fps(self) -> float:
        """Frames per second."""
        return float(self.info["fps"])

    def cameras(self, chosen: Sequence[str] = ()) -> list[str]:
        """Return the features that are images or videos; those chosen, by their whole name or its end ("top").

        Raises:
            UsageError: There is none, or not the chosen one.
        """
        features = self.info["features"]
        known = [name for name, f in features.items() if f.get("dtype") in ("image", "video")]
        if not known:
            raise UsageError(
                f"{self.folder} has no cameras: expected features of dtype image or video"
            )
        found = []
        for name in chosen:
            match = [each for each in known if each == name or each.endswith(f".{name}")]
            if len(match) != 1:
                raise UsageError(f"expected a camera of {', '.join(known)}, got {name!r}")
            found += match
        return found or known

    def is_video(self, camera: str) -> bool:
        """Whether a camera's images are frames of videos; otherwise they lie in the tables."""
        return bool(self.info["features"][camera]["dtype"] == "video")

    def videos(self, camera: str) -> dict[int, Video]:
        """Return the video of each episode.

        Raises:
            UsageError: meta/episodes lacks it.
        """
        parquet = parquet_module()
        keys = [
            f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")
        ]
        found = {}
        for path in sorted((self.folder / "meta/episodes").rglob("*.parquet")):
            table = _read(parquet, path)
            lacking = [key for key in ("episode_index", *keys) if key not in table.column_names]
            if lacking:
                raise UsageError(
                    f"{path} lacks {', '.join(lacking)}: expected a dataset of version 3"
                )
            columns = [table.column(key).to_pylist() for key in ("episode_index", *keys)]
            for episode, chunk, file, start_s in zip(*columns, strict=True):
                name = self.info["video_path"].format(
                    video_key=camera, chunk_index=chunk, file_index=file
                )
                found[int(episode)] = Video(self.folder / name, float(start_s))
        return found


def read_dataset(folder: Path) -> Dataset:
    """Return the dataset in a folder.

    Raises:
        UsageError: None of version 3.
        MissingExtra: pyarrow is not installed.
    """
    parquet_module()
    path = folder / "meta/info.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a LeRobot dataset with meta/info.json at {folder}: {error}"
        ) from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not str(version).startswith("v3"):
        raise UsageError(
            f"expected a dataset of version 3, got {version!r}: convert it with LeRobot's own script first"
        )
    if not isinstance(info.get("features"), dict) or not isinstance(info.get("fps"), (int, float)):
        raise UsageError(f"expected features and fps in {path}")
    tables = sorted(each.relative_to(folder) for each in (folder / "data").rglob("*.parquet"))
    if not tables:
        raise UsageError(f"{folder} has no data/**/*.parquet")
    return Dataset(folder, info, tuple(tables))


def read_table(dataset: Dataset, name: Path) -> pa.Table:
    """Return one of the data files.

    Raises:
        UsageError: It is damaged, or lacks episode_index or timestamp.
    """
    table = _read(parquet_module(), dataset.folder / name)
    lacking = {"episode_index", "timestamp"} - set(table.column_names)
    if lacking:
        raise UsageError(f"{dataset.folder / name} lacks {', '.join(sorted(lacking))}")
    return table


def parquet_module() -> Any:
    """Return pyarrow.parquet.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise import_failure(error, "pyarrow", "lerobot", "A LeRobot dataset") from error
    return pyarrow.parquet


def _read(parquet: Any, path: Path) -> Any:
    try:
        # Not as a data set: folders named like columns would become columns.
        return parquet.ParquetFile(path).read()
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise UsageError(f"{path} cannot be read: {error}") from error
