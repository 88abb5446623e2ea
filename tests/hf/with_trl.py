"""trl's `SFTTrainer` on a tiny Molmo through molmo_point.hf: FOLDER IMAGE OUT. Prints losses, and what the tuned model writes.

python with_trl.py FOLDER IMAGE OUT
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

import molmo_point.hf  # noqa: F401

STEPS = 10
ANSWER = ' <point x="63.5" y="44.5" alt="mug">mug</point>'


def main(folder: str, image: str, out: str) -> None:
    """Train adapters for some steps on one example, save them, and generate."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
    processor = transformers.AutoProcessor.from_pretrained(folder)
    end = processor.tokenizer.convert_tokens_to_ids("<|endoftext|>")

    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        # The answer follows the prompt's own text, whose tokens carry no loss.
        prompt = processor(images=[r["image"] for r in rows], text=[r["query"] for r in rows])
        told = processor.tokenizer(rows[0]["answer"], add_special_tokens=False).input_ids
        told = torch.tensor([[*told, end]]).expand(len(rows), -1)
        batch = dict(prompt)
        batch["input_ids"] = torch.cat([prompt["input_ids"], told], 1)
        batch["attention_mask"] = torch.cat([prompt["attention_mask"], torch.ones_like(told)], 1)
        batch["labels"] = torch.cat([torch.full_like(prompt["input_ids"], -100), told], 1)
        return batch

    row = {"image": image, "query": "Point to the mug", "answer": ANSWER}
    with torch.inference_mode():
        expected = float(model.eval()(**collate([row])).loss)
    rows = Dataset.from_list([row] * 2)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=out,
            max_steps=STEPS,
            per_device_train_batch_size=1,
            learning_rate=2e-2,
            lr_scheduler_type="constant",
            logging_steps=1,
            report_to="none",
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
        ),
        train_dataset=rows,
        data_collator=collate,
        processing_class=processor,
        peft_config=LoraConfig(
            r=16, lora_alpha=32, target_modules=["qkv", "out", "up_gate", "down"]
        ),
    )
    trainer.train()
    trainer.save_model(out)
    inputs = processor(images=image, text=row["query"])
    tokens = trainer.model.eval().generate(**inputs, max_new_tokens=5, do_sample=False)
    text = processor.tokenizer.decode(
        tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    sys.__stdout__.write(json.dumps({"expected": expected, "losses": losses, "text": text}) + "\n")


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        main(*sys.argv[1:4])
