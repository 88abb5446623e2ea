"""A checkpoint's tokenizer and the ids of Molmo's special tokens in it (molmo.md 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from molmo_point.checkpoints.folder import refuse_pointer
from molmo_point.errors import CheckpointError
from molmo_point.install import import_failure

END_OF_TEXT = "<|endoftext|>"
IMAGE_START, IMAGE_END, IMAGE_PATCH, IMAGE_COLUMN = (
    "<im_start>",
    "<im_end>",
    "<im_patch>",
    "<im_col>",
)


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens. The released models begin and end texts with the same token."""

    end_of_text: int
    image_start: int
    image_end: int
    image_patch: int
    image_column: int


class Tokenizer:
    """`tokenizer.json` of a checkpoint.

    Text never becomes a special token: "<im_patch>" or "<|endoftext|>" in a question is encoded like any other words.

    Args:
        folder: Checkpoint folder.

    Raises:
        CheckpointError: No tokenizer.json, damaged, or without Molmo's special tokens.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise import_failure(error, "tokenizers", "engine", "Running a model here") from error
        path = Path(folder) / "tokenizer.json"
        if not path.exists():
            raise CheckpointError(
                f"{folder} has no tokenizer.json: expected the folder of a Molmo checkpoint; download it again, "
                "or copy tokenizer.json from where the weights came from"
            )
        try:
            refuse_pointer(path)
            self._inner = tokenizers.Tokenizer.from_file(str(path))
        except CheckpointError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{path} is damaged: {error}") from error
        self._inner.encode_special_tokens = True
        self.special = SpecialIds(
            end_of_text=self._id(END_OF_TEXT, path),
            image_start=self._id(IMAGE_START, path),
            image_end=self._id(IMAGE_END, path),
            image_patch=self._id(IMAGE_PATCH, path),
            image_column=self._id(IMAGE_COLUMN, path),
        )

    def _id(self, token: str, path: Path) -> int:
        found: int | None = self._inner.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"{path} has no token {token!r}: this is not the tokenizer of a Molmo checkpoint"
            )
        return found

    @property
    def largest_id(self) -> int:
        """Largest id, special tokens included."""
        return max(self._inner.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text; no special tokens are added."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids; special tokens are skipped."""
        text: str = self._inner.decode(ids, skip_special_tokens=True)
        return text

    def number_tokens(self) -> dict[int, str]:
        """Return {id: text} of the tokens that consist of one to three digits."""
        vocabulary: dict[str, int] = self._inner.get_vocab(with_added_tokens=False)
        return {
            index: text
            for text, index in vocabulary.items()
            if len(text) <= 3 and text.isascii() and text.isdigit()
        }
