"""The recipe of a training run: sizes, stages, data mixture, budgets. It is stored beside the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from molmo_point.checkpoints.config import (
    DecoderConfig,
    MolmoConfig,
    PreprocessConfig,
    VisionConfig,
)
from molmo_point.errors import UsageError
from molmo_point.record import Record
from molmo_point.synthetic.pages.draw import PageStyle
from molmo_point.synthetic.pages.questions import PageQuestions
from molmo_point.synthetic.scenes.photographs import PhotographStyle
from molmo_point.synthetic.scenes.questions import QuestionStyle
from molmo_point.synthetic.scenes.scene import Style
from molmo_point.text_files import read_text
from molmo_point.train.losses import LossWeights

PRECISIONS = ("auto", "float32", "bfloat16")


class ModelRecipe(Record):
    """Sizes of the network; the defaults are nano's. `taught_*`: the supervised attention heads."""

    crop_size: int = 224
    patch_size: int = 16
    margins: tuple[int, int] = (2, 2)
    max_crops: int = 12
    vision_width: int = 144
    vision_layers: int = 5
    vision_heads: int = 4
    vision_head_dim: int = 32
    vision_mlp: int = 576
    feature_layers: tuple[int, ...] = (-1, -3)
    width: int = 192
    layers: int = 5
    heads: int = 6
    ffn: int = 512
    rope_theta: float = 10_000.0
    taught_layer: int = 2
    taught_heads: int = 2

    @model_validator(mode="after")
    def _fits(self) -> ModelRecipe:
        if self.width % self.heads or self.width // self.heads % 2:
            raise ValueError(f"width {self.width} does not divide into {self.heads} even heads")
        if not (0 <= self.taught_layer < self.layers and 0 < self.taught_heads <= self.heads):
            raise ValueError(
                f"taught_layer {self.taught_layer} and taught_heads {self.taught_heads} are not among "
                f"{self.layers} layers of {self.heads} heads"
            )
        return self

    def config(self, vocab_size: int, new_tokens: int) -> MolmoConfig:
        """Return the network's configuration for a tokenizer."""
        preprocess = PreprocessConfig(
            crop_size=self.crop_size,
            patch_size=self.patch_size,
            margins=self.margins,
            max_crops=self.max_crops,
        )
        vision = VisionConfig(
            width=self.vision_width,
            layers=self.vision_layers,
            heads=self.vision_heads,
            head_dim=self.vision_head_dim,
            mlp_width=self.vision_mlp,
            patch_size=self.patch_size,
            image_size=(self.crop_size, self.crop_size),
            feature_layers=self.feature_layers,
        )
        decoder = DecoderConfig(
            d_model=self.width,
            layers=self.layers,
            heads=self.heads,
            kv_heads=self.heads,
            ffn_width=self.ffn,
            vocab_size=vocab_size,
            embedding_size=vocab_size,
            new_embedding_size=new_tokens,
            qk_norm=True,
            rope_theta=self.rope_theta,
        )
        # config.json has no field for the projector's width: it is that of the decoder's feed-forward network.
        return MolmoConfig(decoder, self.ffn, vision, preprocess)


class MixtureEntry(Record):
    """A style of scenes, with its weight in the mixture; of pages where `page` is given, of photographs with `photographs`."""

    weight: float = Field(default=1.0, gt=0)
    style: Style = Style()
    page: PageStyle | None = None
    photographs: PhotographStyle | None = None

    @model_validator(mode="after")
    def _one_style(self) -> MixtureEntry:
        if self.page is not None and self.photographs is not None:
            raise ValueError("give page or photographs, not both")
        return self


class Rates(Record):
    """Peak learning rates of AdamW for each part; 0 freezes it."""

    vision: float = 0.0
    connector: float = 0.0
    decoder: float = 0.0
    heads: float = 1e-3


class StageRecipe(Record):
    """One stage.

    Attributes:
        kind: "dense": vision tower and connector learn what each image token shows; "decoder": the decoder learns to answer on
            image embeddings computed once; "joint": everything learns on fresh images.
        scenes: The data mixture.
        batch: Images a step.
        questions: Questions packed behind an image.
        samples, cpu_seconds: The stage ends when either budget is used up; at least one must be given.
        cached: Images of a "decoder" stage.
        reuse: Times that each image is used, with other questions each time, see `ReusedScenes`.
        warmup: Share of the budget over which the rates rise linearly from 0.
        decay: Share of the budget, at its end, over which the rates fall linearly to `floor` times their peak.
        cut: Probability that an answer ends after its coordinates.
    """

    name: str
    kind: Literal["dense", "decoder", "joint"]
    scenes: tuple[MixtureEntry, ...] = (MixtureEntry(),)
    batch: int = Field(default=8, ge=1)
    questions: int = Field(default=9, ge=1)
    question_style: QuestionStyle = QuestionStyle()
    page_questions: PageQuestions = PageQuestions()
    samples: int | None = Field(default=None, ge=1)
    cpu_seconds: float | None = Field(default=None, gt=0)
    cached: int = Field(default=3000, ge=1)
    reuse: int = Field(default=1, ge=1)
    rates: Rates
    warmup: float = Field(default=0.03, ge=0, le=1)
    decay: float = Field(default=0.4, ge=0, le=1)
    floor: float = Field(default=0.05, ge=0, le=1)
    cut: float = Field(default=0.9, ge=0, le=1)
    losses: LossWeights = LossWeights()

    @model_validator(mode="after")
    def _has_budget(self) -> StageRecipe:
        if self.samples is None and self.cpu_seconds is None:
            raise ValueError(f"stage '{self.name}' has no budget: give samples or cpu_seconds")
        return self


class Recipe(Record):
    """A whole training run.

    Attributes:
        start: Warm start instead of random weights: the folder of a run or of a checkpoint, or a model's name. See `warm_start`.
        seed: Decides the initial weights and the images.
        precision: "bfloat16" computes matrix products in bfloat16; weights and optimizer stay float32. On a CPU without bfloat16
            instructions (AVX512-BF16, AMX) "float32" is several times faster. "auto" chooses by the machine; the run's
            recipe.json holds what was chosen.
        save_every_s: Seconds between two saved states.
        check_every_s: Seconds between two evaluations on held-out images.
        check_pictures: Images of an evaluation.
    """

    name: str
    start: str | None = None
    seed: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    model: ModelRecipe = ModelRecipe()
    stages: tuple[StageRecipe, ...] = Field(min_length=1)
    save_every_s: float = Field(default=120, ge=0)
    check_every_s: float = Field(default=300, ge=0)
    check_pictures: int = Field(default=24, ge=0)

    @model_validator(mode="after")
    def _names_differ(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need different names, got {', '.join(names)}")
        return self


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from JSON.

    Raises:
        UsageError: No such file, not JSON, or invalid values, each named.
    """
    path = Path(path)
    try:
        return Recipe.model_validate(json.loads(read_text(path)))
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'recipe'}: {item['msg']}"
            for item in error.errors()
        )
        raise UsageError(f"{path} is not a training recipe: {problems}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error


def find_recipe(name: str) -> Recipe:
    """Read a recipe of the package by its name, or from a file.

    Raises:
        UsageError: There is neither; lists the names.
    """
    folder = Path(__file__).parent / "recipes"
    if (folder / f"{name}.json").exists():
        return read_recipe(folder / f"{name}.json")
    if Path(name).exists():
        return read_recipe(name)
    names = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
    raise UsageError(f"no recipe is named {name!r} and there is no such file; recipes: {names}")
