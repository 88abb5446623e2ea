"""Loss and gradients of fine-tuning: those of the inference network, question by question, on the golden twin of every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.datasets import LabelledItem
from molmo_point.model.lora import PARTS, AdaptedExperts, AdaptedLinear, LowRank, add_adapters
from molmo_point.model.mixture import MixtureOfExperts
from molmo_point.model.molmo import Molmo
from molmo_point.model.weights import load_weights
from molmo_point.preprocess.tokenizer import Tokenizer
from molmo_point.train.answered_question import QuestionWriter, WrittenQuestion
from molmo_point.train.finetune_recipe import FinetuneRecipe
from molmo_point.train.packed_batches import CroppedImage, PackedBatch, crop, pack
from molmo_point.train.prompt_format import PromptFormat
from molmo_point.train.token_loss import AnswerLoss

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("tiny-d", "tiny-o", "tiny-moe", "tiny-72b")
ITEMS = (
    LabelledItem(b"", "mugs", ((0.25, 0.5), (0.1, 0.9))),
    LabelledItem(b"", "boats", (), "count"),
    LabelledItem(b"", "What is it?", mode="text", text="A photo."),
)


class Twin:
    """A golden twin with one image and three written questions."""

    def __init__(self, family: str) -> None:
        folder = GOLDEN / "models" / family
        self.config = MolmoConfig.from_folder(folder)
        self.folder = folder
        tokenizer = Tokenizer(folder)
        self.image: CroppedImage = crop(
            GOLDEN / "images" / "img0_336x336.png", self.config.preprocess, tokenizer
        )
        writer = QuestionWriter(tokenizer, FinetuneRecipe(base="x"))
        rng = np.random.default_rng(0)
        self.questions: list[WrittenQuestion] = [
            writer.write(item, rng, plain=True) for item in ITEMS
        ]

    def model(self) -> Molmo:
        return load_weights(self.folder, self.config).requires_grad_(True)

    def packed(self) -> PackedBatch:
        return pack([(self.image, self.questions)])


@pytest.fixture(scope="module", params=FAMILIES)
def twin(request: pytest.FixtureRequest) -> Twin:
    return Twin(request.param)


def reference_loss(model: Molmo, image: CroppedImage, question: WrittenQuestion) -> torch.Tensor:
    """The sum over an answer's tokens, through the network's own forward pass: one question, no packing, no mask of ours."""
    ids = torch.tensor(np.concatenate([image.prefix, question.ids]))[None].long()
    rows = torch.from_numpy(image.crop_rows).long()
    features = model.encode_images(
        torch.from_numpy(image.crops)[rows], torch.from_numpy(image.masks)
    )
    index = torch.from_numpy(image.token_slots)[None]
    x = model.embed(ids, features[None], index)
    logits = model(x, torch.arange(ids.shape[1])[None])[0, len(image.prefix) :]
    targets = torch.from_numpy(question.targets).long()
    return F.cross_entropy(logits.float(), targets, ignore_index=-1, reduction="sum")


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_packed_questions_give_the_loss_and_gradients_of_separate_ones(twin: Twin) -> None:
    plain, trained = twin.model(), twin.model()
    separate = sum(reference_loss(plain, twin.image, question) for question in twin.questions)
    assert isinstance(separate, torch.Tensor)
    separate.backward()  # type: ignore[no-untyped-call]
    loss, _ = AnswerLoss(trained)(twin.packed())
    # The weights of three questions about one image are 3^-0.5.
    loss = loss * 3**0.5
    loss.backward()
    assert loss.item() == pytest.approx(separate.item(), rel=1e-5)
    expected, got = gradients(plain), gradients(trained)
    assert expected.keys() == got.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item() + 1e-4
        assert (got[name] - gradient).abs().max().item() < 2e-3 * scale, name


def test_gradients_are_finite_differences(twin: Twin) -> None:
    """Of ten parameters, drawn among those with the largest gradients: rounding hides the others."""
    model = twin.model()
    for module in model.modules():
        if isinstance(module, MixtureOfExperts):
            # All experts: where a step changes which ones are chosen, the loss jumps.
            module.chosen = module.experts
    loss_of, batch = AnswerLoss(model), twin.packed()

    def loss() -> torch.Tensor:
        answer, normalizer = loss_of(batch)
        total: torch.Tensor = (answer + 1e-4 * normalizer) / batch.weights.sum()
        return total

    loss().backward()  # type: ignore[no-untyped-call]
    found = gradients(model)
    rng = np.random.default_rng(1)
    names = sorted(found, key=lambda name: -float(found[name].abs().max()))[:40]
    for name in rng.choice(names, 10, replace=False):
        parameter = model.get_parameter(str(name))
        at = int(found[name].abs().argmax())
        expected = float(found[name].flatten()[at])
        step = min(0.004, 0.004 / abs(expected))
        with torch.no_grad():
            flat, values = parameter.view(-1), {}
            middle = float(flat[at])
            for sides in (-2, -1, 1, 2):
                flat[at] = middle + sides * step
                values[sides] = float(loss())
            flat[at] = middle
        # Five points: exact up to the fifth derivative.
        slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)
        assert slope == pytest.approx(expected, rel=0.05, abs=2e-3), name


def test_activations_computed_twice_give_the_same_gradients(twin: Twin) -> None:
    whole, twice = twin.model(), twin.model()
    for model, checkpointing in ((whole, False), (twice, True)):
        AnswerLoss(model, checkpointing=checkpointing)(twin.packed())[0].backward()
    other = gradients(twice)
    for name, gradient in gradients(whole).items():
        assert torch.equal(gradient, other[name]), name


def test_gradients_of_adapters_follow_from_those_of_the_weights(twin: Twin) -> None:
    """With up = 0 the loss is that of the base, and d loss / d up = scale * (d loss / d weight) down^T."""
    base, adapted = twin.model(), twin.model()
    add_adapters(adapted, PARTS, rank=3, alpha=6)
    loss, _ = AnswerLoss(base)(twin.packed())
    loss.backward()
    same, _ = AnswerLoss(adapted)(twin.packed())
    same.backward()
    assert same.item() == pytest.approx(loss.item(), rel=1e-6)
    weights, checked = gradients(base), 0
    for path, module in adapted.named_modules():
        if isinstance(module, AdaptedLinear):
            for part in module.parts:
                assert isinstance(part, LowRank)
                gradient = weights[f"{path}.weight"][part.rows or slice(None)]
                expected = 2 * gradient @ part.down.T
                assert part.up.grad is not None
                assert torch.allclose(part.up.grad, expected, atol=2e-3, rtol=2e-3), path
                checked += 1
        if isinstance(module, AdaptedExperts):
            found = torch.cat([part.up.grad for part in module.parts], 1)  # type: ignore[list-item]
            height, start = weights[path].shape[1] // len(module.parts), 0
            for part in module.parts:
                gradient = weights[path][:, start : start + height]
                expected = 2 * gradient @ part.down.transpose(1, 2)  # type: ignore[operator]
                assert torch.allclose(
                    found[:, start : start + height], expected, atol=2e-3, rtol=2e-3
                )
                start += height
                checked += 1
    assert checked > 20
    assert all(
        not parameter.requires_grad
        for name, parameter in adapted.named_parameters()
        if not name.endswith((".down", ".up")) or ".parts." not in name
    )


def test_dropout_changes_training_alone() -> None:
    twin = Twin("tiny-d")
    network = AnswerLoss(twin.model(), dropout=0.5)
    torch.manual_seed(0)
    losses = [network(twin.packed())[0].item() for _ in range(2)]
    assert losses[0] != losses[1]
    with torch.no_grad():
        plain = [network(twin.packed())[0].item() for _ in range(2)]
    assert plain[0] == plain[1]


CASES = json.loads((GOLDEN / "format/format_cases.json").read_text("utf-8"))["messages"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_turns_are_those_of_the_training_code(case: dict[str, Any]) -> None:
    """Template 0, style draw 0.5, no noise; "debug" writes every style."""
    system = case.get("system_prompt", "demo_or_style")
    written = PromptFormat(system, tagged=0.0 if case.get("debug") else 0.5)
    answered, example = not case["for_inference"], case["example"]
    if "message_list" in example:
        got: Any = [written.turns(each) for each in example["message_list"]]
    else:
        got = written.turns(example, answered=answered)
    assert got == case["messages"]


def test_only_the_answer_and_its_end_are_learned() -> None:
    twin = Twin("tiny-d")
    tokenizer = Tokenizer(twin.folder)
    first = twin.questions[0]
    learned = first.targets[first.targets >= 0].tolist()
    assert learned[-1] == tokenizer.special.end
    assert tokenizer.decode(learned[:-1]) == (
        ' <points x1="10.0" y1="90.0" x2="25.0" y2="50.0" alt="mugs">mugs</points>'
    )
    asked = first.ids[: len(first.ids) - len(learned) + 1].tolist()
    assert tokenizer.decode(asked) == " User: Point to mugs Assistant:"
