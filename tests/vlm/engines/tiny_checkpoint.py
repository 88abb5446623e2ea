"""Write a tiny Qwen2.5-VL checkpoint that has learned two answers by heart, for a real server to run.

    python tiny_checkpoint.py FOLDER IMAGE

About IMAGE, the prompt of the format `qwen2.5` for "mug" is answered with a point at pixel (56, 14) of the resized image, that
for "dog" with `[]`, everything else with whatever comes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers
from PIL import Image
from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

from molmo_point.vlm import FORMATS

# By file: `tests` is also the name of a package that others install.
sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_qwen import END, network, tokenizer

ANSWERS = {"mug": '[{"point_2d": [56, 14], "label": "mug"}]', "dog": "[]"}
MOST_STEPS = 300
LEARNED = 0.01
"""Loss at which both answers are known by heart."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main(folder: Path, image: Path) -> None:
    """Train, and write the checkpoint with its processor."""
    model = network("qwen2.5").train()
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer(),
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=CHAT,
    )
    batches = [_example(processor, image, query, answer) for query, answer in ANSWERS.items()]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(MOST_STEPS):
        loss = sum(model(**batch).loss for batch in batches)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        steps = step + 1
        if loss.item() < LEARNED:
            break
    print(f"{steps} steps: loss {loss.item():.4f}", file=sys.stderr)
    model.generation_config = transformers.GenerationConfig(eos_token_id=END, pad_token_id=256)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def _example(
    processor: Qwen2_5_VLProcessor, image: Path, query: str, answer: str
) -> dict[str, torch.Tensor]:
    """Return the inputs of a question with its answer, whose tokens are the labels."""
    prompt = FORMATS["qwen2.5"].prompt(query)
    content = [{"type": "image", "image": Image.open(image)}, {"type": "text", "text": prompt}]
    inputs = dict(
        processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
    )
    told = torch.tensor([[*answer.encode(), END]])
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], told], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.nn.functional.pad(
        inputs["mm_token_type_ids"], (0, told.shape[1])
    )
    inputs["labels"] = inputs["input_ids"].clone()
    inputs["labels"][:, :length] = -100
    return inputs


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
