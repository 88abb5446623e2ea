"""The settings of a fine-tuning run; they are stored in its folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from molmo_point.model.lora import PARTS
from molmo_point.record import Record

Part = Literal["vision", "connector", "decoder"]

ADAPTER_RATE = 2e-4
"""Peak rate of low-rank matrices."""

PUBLISHED_RATES: dict[Part, float] = {"vision": 5e-6, "connector": 5e-6, "decoder": 1e-5}
"""Peak rates of the second stage of Molmo's training (molmo.md 8)."""

WARMUP_STEPS = 200
"""Of the second stage; shorter runs take a tenth of their steps."""


class FinetuneRecipe(Record):
    """How a checkpoint is fine-tuned; the defaults are those of Molmo's second stage where it has such a setting.

    Attributes:
        base: Name or folder of the checkpoint; base_print: fingerprint of its files; data_print: of the data.
        method: "lora" trains low-rank matrices, "all" every parameter.
        parts: What is trained.
        rank, alpha: Of the low-rank matrices; their product is scaled by alpha / rank.
        rates: Peak learning rate of each part; parts without one take the method's.
        warmup: Steps over which the rates rise from 0; None = WARMUP_STEPS, at most a tenth of the steps.
        floor: Share of the peak to which the rates fall along a cosine.
        dropout: Residual dropout in the decoder.
        z_loss: Weight of the squared logarithm of the softmax's denominator.
        epochs: How often each image is seen; steps: overrides it.
        batch: Images of an optimizer step; micro_batch: images of one forward pass, the gradients of several add up.
        questions: At most this many packed behind one image.
        max_tokens: Longest packed sequence.
        plain: Share of questions in the wording of `molmo-point point` and `count`; the others are drawn from templates.
        absent: Questions for each image about things that only other images show; answered "There are none."
        captions: "chat" asks for a caption in words, "length" by its length, as Molmo's first stage.
        precision: "bfloat16" computes matrix products in bfloat16.
        weights: Type of frozen weights; "bfloat16" halves their memory, for "lora" only.
        held_out: Share of the images that is not trained on.
        evaluate_every: Steps between two evaluations; None = five in a run.
    """

    base: str
    base_print: str = ""
    data_print: str = ""
    method: Literal["lora", "all"] = "lora"
    parts: tuple[Part, ...] = ("vision", "connector", "decoder")
    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    rates: dict[Part, float] = Field(default_factory=dict)
    warmup: int | None = Field(default=None, ge=0)
    floor: float = Field(default=0.1, ge=0, le=1)
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    z_loss: float = Field(default=1e-4, ge=0)
    epochs: float = Field(default=3.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=8, ge=1)
    micro_batch: int = Field(default=1, ge=1)
    questions: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=2304, ge=64)
    plain: float = Field(default=0.5, ge=0, le=1)
    absent: int = Field(default=0, ge=0)
    captions: Literal["chat", "length"] = "chat"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    weights: Literal["float32", "bfloat16"] = "float32"
    checkpointing: bool = False
    held_out: float = Field(default=0.1, ge=0, lt=1)
    evaluate_every: int | None = Field(default=None, ge=1)
    save_every_s: float = Field(default=120.0, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> FinetuneRecipe:
        if not self.parts or len(set(self.parts)) != len(self.parts):
            raise ValueError(f"parts: expected some of {', '.join(PARTS)}, each once")
        if self.method == "all" and self.weights != "float32":
            raise ValueError(
                "weights: all parameters are trained in float32; bfloat16 is for method lora"
            )
        if any(not rate >= 0 for rate in self.rates.values()):
            raise ValueError(f"rates: expected numbers of at least 0, got {self.rates}")
        return self

    def rate(self, part: Part) -> float:
        """Return the peak learning rate of a part; 0 where it is not trained."""
        if part not in self.parts:
            return 0.0
        usual = ADAPTER_RATE if self.method == "lora" else PUBLISHED_RATES[part]
        return self.rates.get(part, usual)

    def total_steps(self, images: int) -> int:
        """Return the steps of a run over this many training images."""
        return self.steps or max(1, -(-round(self.epochs * images) // self.batch))

    def warmup_steps(self, total: int) -> int:
        """Return the steps of the warm-up."""
        return min(WARMUP_STEPS, total // 10) if self.warmup is None else self.warmup

    def learning(self) -> dict[str, object]:
        """Return what a run that is resumed must have in common with the one that began."""
        free = {"evaluate_every", "save_every_s", "base"}
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in free}
