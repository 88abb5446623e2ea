"""Training examples as turns of a conversation, in the format of Molmo's training data (molmo.md 4 and 5).

A turn of the user is ` User: {text} Assistant:`, the answer ` {text}`. The style of an example may stand before its question
(`vqa2: What colour?`); questions about points, captions and free questions mostly have none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_point.markup import format_annotated, format_points
from molmo_point.markup.writer import Annotation
from molmo_point.preprocess.prompt import format_prompt
from molmo_point.train.question_templates import TEMPLATES

SELDOM_TAGGED = frozenset({"pointing", "point_count", "user_qa", "long_caption"})
"""Styles that are written before one question of ten."""

NEVER_TAGGED = frozenset({"android_control", "demo"})

TAGGED_SHARE = 0.1

WRITTEN_STYLES = {"eval_short_answer": "vqa2", "eval_multiple_choice": "a_okvqa_mc"}
"""Styles that are written as another one."""

LENGTH_UNIT = 15
"""Characters of a caption's length for one unit of its prompt."""

INFERENCE_LENGTH = 65

Example = Mapping[str, Any]


@dataclass(frozen=True)
class PromptFormat:
    """How examples are written.

    Attributes:
        system: "demo_or_style": styles as above; "style": always; "style_and_length": ` long_caption 65:` instead of a question
            (training on captions alone).
        tagged: A draw 0-1: below `TAGGED_SHARE` a seldom tagged style is written.
        length_noise: Characters added to a caption's length; None asks without a length.
        choose: Returns the template of a family, given the templates.
    """

    system: str = "demo_or_style"
    tagged: float = 0.5
    length_noise: float | None = 0.0
    choose: Callable[[Sequence[str]], str] = lambda templates: templates[0]

    def turns(self, example: Example, *, answered: bool = True) -> list[str]:
        """Return the turns of an example: prompt and answer, or several of them in a conversation.

        Args:
            answered: Also the answer; else the prompt alone.
        """
        style = str(example.get("style", ""))
        if "messages" in example:
            texts = [str(text) for text in example["messages"]]
            return [
                self._prompt(style, text, first=index == 0) if index % 2 == 0 else f" {text}"
                for index, text in enumerate(texts)
            ]
        if self.system == "style_and_length":
            prompt = f" {style} {self._length(example, answered)}:"
        else:
            prompt = self._prompt(style, self._question(example), first=True)
        return [prompt, f" {answer_text(example)}"] if answered else [prompt]

    def _length(self, example: Example, answered: bool) -> str:
        if self.length_noise is None:
            return ""
        if not answered:
            return str(INFERENCE_LENGTH)
        return str(int((len(str(example["text"])) + self.length_noise) // LENGTH_UNIT))

    def _prompt(self, style: str, text: str, *, first: bool) -> str:
        written = WRITTEN_STYLES.get(style, style)
        tagged = first and style not in NEVER_TAGGED
        if self.system == "demo_or_style" and style in SELDOM_TAGGED:
            tagged = tagged and self.tagged < TAGGED_SHARE
        return format_prompt(f"{written}: {text}" if tagged else text)

    def _question(self, example: Example) -> str:
        if "prompt" in example:
            return str(example["prompt"])
        if "question" not in example:
            template = self.choose(TEMPLATES[str(example["style"])])
            return template.replace("{label}", str(example.get("label", "")).lower())
        question = str(example["question"])
        if "options" in example:
            letters = (f"{chr(65 + n)}: {text}\n" for n, text in enumerate(example["options"]))
            return question + "\n" + "".join(letters)
        if "unlabelled_options" in example:
            return question + "\n" + "".join(f"{text}\n" for text in example["unlabelled_options"])
        return question


def answer_text(example: Example) -> str:
    """Return the answer of an example as it is written, without the space before it."""
    if "points" in example:
        size = example.get("image_size")
        label = example.get("label", example.get("question"))
        return format_points(
            example["points"],
            str(label),
            counting=example["style"] == "point_count",
            scale=float(example.get("point_scale") or 1.0),
            image_size=None if size is None else (int(size[0]), int(size[1])),
            verbatim="label" not in example,
        )
    if "answer_annotations" in example:
        annotations = [
            Annotation(each["points"], each["inline_text"], each["alt_text"])
            for each in example["answer_annotations"]
        ]
        return format_annotated(str(example["answer"]), annotations, scale=100.0)
    if "answer_idx" in example:
        index = int(example["answer_idx"])
        return (
            str(example["unlabelled_options"][index])
            if "unlabelled_options" in example
            else chr(65 + index)
        )
    return str(example["text"] if "text" in example else example["answer"])
