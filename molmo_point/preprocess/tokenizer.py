"""A checkpoint's own tokenizer, with Molmo's special ids looked up, never assumed (molmo.md 1.3, molmo2.md 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from molmo_point.checkpoints.folder import read_json, refuse_pointer
from molmo_point.errors import CheckpointError
from molmo_point.install import import_failure

END_OF_TEXT = "<|endoftext|>"
IMAGE_START, IMAGE_END, IMAGE_PATCH, IMAGE_COLUMN = (
    "<im_start>",
    "<im_end>",
    "<im_patch>",
    "<im_col>",
)
LOW_IMAGE_START = "<low_res_im_start>"
"""Only tokenizers of Molmo 2 have it."""
LOW_IMAGE_PATCH, FRAME_START, FRAME_END = "<im_low>", "<frame_start>", "<frame_end>"
POINT_PARTS = ("<|token_index|>", "<|vit_index|>", "<|vit_loc|>")
"""Only tokenizers of MolmoPoint have them."""
_CHOICE = re.compile(r"<POINT_[0-9]+>")
_BEFORE_CHOICE = re.compile(r"(?<=<)(?=POINT_)")
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class SpecialIds:
    """Token ids with a meaning of their own.

    Attributes:
        begin: First token of every sequence; end: ends an answer. Often the same token, but not in Molmo2-O-7B.
        low_image_start: Before the low-resolution view; the same as `image_start` but in Molmo 2.
        turns: Tokens before and behind each turn of a conversation; None where turns are written in words (before Molmo 2).
        low_image_patch: Patch of a low-resolution view in MolmoPoint; the same as `image_patch` without such a token.
        frame: Tokens before and behind a frame of a video; None before Molmo 2.
        point: MolmoPoint's tokens for a patch, a patch of its window and a location; None in other models.
    """

    begin: int
    end: int
    image_start: int
    image_end: int
    image_patch: int
    image_column: int
    low_image_start: int
    turns: tuple[int, int] | None = None
    low_image_patch: int | None = None
    frame: tuple[int, int] | None = None
    point: tuple[int, int, int] | None = None

    @property
    def visual(self) -> tuple[int, ...]:
        """Tokens of images and frames: in Molmo 2 they see each other in both directions."""
        ids = (
            self.image_start,
            self.image_end,
            self.image_patch,
            self.image_column,
            self.low_image_start,
            self.low_image_patch,
            *(self.frame or ()),
        )
        return tuple(index for index in ids if index is not None)


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
        second = self._inner.token_to_id(LOW_IMAGE_START) is not None
        begin, end = _named_ends(Path(folder)) if second else (END_OF_TEXT, END_OF_TEXT)
        self.special = SpecialIds(
            begin=self._id(begin, path),
            end=self._id(end, path),
            image_start=self._id(IMAGE_START, path),
            image_end=self._id(IMAGE_END, path),
            image_patch=self._id(IMAGE_PATCH, path),
            image_column=self._id(IMAGE_COLUMN, path),
            low_image_start=self._id(LOW_IMAGE_START if second else IMAGE_START, path),
            turns=(self._id(TURN_START, path), self._id(TURN_END, path)) if second else None,
            low_image_patch=self._inner.token_to_id(LOW_IMAGE_PATCH) if second else None,
            frame=(self._id(FRAME_START, path), self._id(FRAME_END, path)) if second else None,
            point=self._point_parts(),
        )

    def _point_parts(self) -> tuple[int, int, int] | None:
        patch, part, location = (self._inner.token_to_id(token) for token in POINT_PARTS)
        if patch is None or part is None or location is None:
            return None
        return patch, part, location

    def _id(self, token: str, path: Path) -> int:
        found: int | None = self._inner.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"{path} has no token {token!r}: this is not the tokenizer of a Molmo checkpoint"
            )
        return found

    @property
    def largest_id(self) -> int:
        """Largest id, special tokens included. MolmoPoint's names of choices (`<POINT_0>`, ...) have no row in the network."""
        vocabulary: dict[str, int] = self._inner.get_vocab(with_added_tokens=True)
        return max(index for token, index in vocabulary.items() if not _CHOICE.fullmatch(token))

    @property
    def first_choice(self) -> int | None:
        """Id of MolmoPoint's `<POINT_0>`, the first one behind the network's rows; None in other models."""
        found: int | None = self._inner.token_to_id("<POINT_0>")
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text; no special tokens are added."""
        # Words that name one of MolmoPoint's choices stay words.
        parts = _BEFORE_CHOICE.split(text) if "<POINT_" in text else [text]
        return [
            index
            for part in parts
            for index in self._inner.encode(part, add_special_tokens=False).ids
        ]

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


def _named_ends(folder: Path) -> tuple[str, str]:
    """Return the tokens that begin a sequence and end an answer, by tokenizer_config.json.

    Raises:
        CheckpointError: The file is missing or damaged, or does not name both.
    """
    names = read_json(folder / "tokenizer_config.json")
    ends = []
    for key in ("bos_token", "eos_token"):
        token = names.get(key)
        text = token.get("content") if isinstance(token, dict) else token
        if not isinstance(text, str):
            raise CheckpointError(
                f"{folder / 'tokenizer_config.json'}: {key} = {token!r} (expected the token's text): copy the file from the "
                "model that these weights come from"
            )
        ends.append(text)
    return ends[0], ends[1]
