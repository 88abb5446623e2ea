"""Molmo under transformers: golden numbers of the four families through Auto classes, `generate`, saving, batches, LoRA."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

transformers = pytest.importorskip(
    "transformers",
    minversion="5.20",
    reason="transformers 5 (the extra transformers) is not installed",
)

import molmo_point.hf  # noqa: E402
from molmo_point.errors import BrokenInstall, CheckpointError, UsageError  # noqa: E402

# transformers and peft warn about each other's old names.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ["tiny-d", "tiny-o", "tiny-moe", "tiny-72b"]
CASES = ["text", "img0_336x336", "img1_640x480", "img2_300x820"]


def load(folder: Path) -> tuple[Any, Any]:
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
    return model.eval(), transformers.AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> tuple[str, Any, Any]:
    return (request.param, *load(GOLDEN / "models" / request.param))


def case_of(name: str, case: str) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    folder = GOLDEN / "models" / name
    about = json.loads((folder / "golden.json").read_text())["cases"]
    arrays = np.load(folder / "golden.npz")
    chosen = {k.split("/")[1]: arrays[k] for k in arrays.files if k.startswith(f"{case}/")}
    return next(each for each in about if each["name"] == case), chosen


def inputs_of(processor: Any, about: dict[str, Any]) -> Any:
    image = None if about["image"] is None else GOLDEN / "images" / about["image"]
    return processor(images=image, text=about["prompt"])


@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_tokens_are_the_references(
    family: tuple[str, Any, Any], case: str
) -> None:
    name, model, processor = family
    about, golden = case_of(name, case)
    inputs = inputs_of(processor, about)
    np.testing.assert_array_equal(inputs["input_ids"][0], golden["input_ids"])
    with torch.inference_mode():
        logits = model(**inputs, logits_to_keep=8).logits[0]
        # Our own resampling: pixels within 1e-4.
        np.testing.assert_allclose(logits, golden["logits_last8"], atol=1e-2)
        tokens = model.generate(
            **inputs, max_new_tokens=24, min_new_tokens=24, do_sample=False, eos_token_id=-1
        )
    np.testing.assert_array_equal(tokens[0, inputs["input_ids"].shape[1] :], golden["greedy24"])


def test_a_padded_batch_gives_the_tokens_of_each_alone(family: tuple[str, Any, Any]) -> None:
    name, model, processor = family
    cases = [case_of(name, case) for case in CASES if case != "text"]
    inputs = processor(
        images=[GOLDEN / "images" / about["image"] for about, _ in cases],
        text=[about["prompt"] for about, _ in cases],
    )
    options = {"max_new_tokens": 24, "min_new_tokens": 24, "do_sample": False, "eos_token_id": -1}
    tokens = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    np.testing.assert_array_equal(tokens, np.stack([golden["greedy24"] for _, golden in cases]))


@pytest.mark.parametrize("padding", [0, 3])
def test_padding_is_looked_for_in_the_first_pass_only(
    tiny: tuple[Any, Any], padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that asks whether a mask is full waits for the device; padded rows need their mask in every pass."""
    import molmo_point.hf.modeling as modeling

    model, processor = tiny
    masks: list[Any] = []
    mask_of = modeling._mask
    monkeypatch.setattr(modeling, "_mask", lambda m, *rest: masks.append(m) or mask_of(m, *rest))
    inputs = processor(text="Point to the mug")
    for name, value in (("input_ids", 0), ("attention_mask", 0)):
        inputs[name] = torch.nn.functional.pad(inputs[name], (padding, 0), value=value)
    model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    assert [mask is None for mask in masks[1:]] == [padding == 0] * 3


def test_saving_keeps_the_published_names_and_every_weight(
    family: tuple[str, Any, Any], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    name, model, processor = family
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    published = load_file(GOLDEN / "models" / name / "model.safetensors")
    saved = load_file(tmp_path / "model.safetensors")
    assert set(saved) == set(published)
    for key, tensor in published.items():
        assert torch.equal(saved[key], tensor), key
    about, golden = case_of(name, "img0_336x336")
    again, theirs = load(tmp_path)
    logits = again(**inputs_of(theirs, about), logits_to_keep=8).logits[0].detach()
    np.testing.assert_allclose(logits, golden["logits_last8"], atol=3e-4)
    # Our own loader takes the folder, too.
    import molmo_point as mp

    with mp.load(tmp_path, dtype="float32") as pointer:
        assert pointer.network.decoder.head.weight.shape[0] == golden["logits_last8"].shape[1]


def test_a_model_made_from_a_configuration_is_saved_under_published_names(tmp_path: Path) -> None:
    from safetensors import safe_open

    source = GOLDEN / "models" / "tiny-moe"
    config = transformers.AutoConfig.from_pretrained(source)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    keys = [
        set(safe_open(folder / "model.safetensors", "pt").keys()) for folder in (source, tmp_path)
    ]
    assert keys[0] == keys[1]


def test_beams_sampling_and_streamers_run(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    about, golden = case_of("tiny-d", "img0_336x336")
    inputs = inputs_of(processor, about)
    beams = model.generate(**inputs, num_beams=3, max_new_tokens=6, do_sample=False)
    assert beams.shape[1] <= inputs["input_ids"].shape[1] + 6
    torch.manual_seed(0)
    model.generate(**inputs, do_sample=True, max_new_tokens=4)
    streamer = transformers.TextIteratorStreamer(processor.tokenizer, skip_prompt=True)
    model.generate(**inputs, streamer=streamer, max_new_tokens=5, do_sample=False)
    expected = processor.tokenizer.decode(golden["greedy24"][:5])
    assert "".join(streamer) == expected


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return load(GOLDEN / "models" / "tiny-d")


def test_the_published_script_runs_unchanged(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    about, golden = case_of("tiny-d", "img0_336x336")
    inputs = processor.process(images=[GOLDEN / "images" / about["image"]], text=about["prompt"])
    inputs = {name: value.to(model.device).unsqueeze(0) for name, value in inputs.items()}
    config = transformers.GenerationConfig(max_new_tokens=6, stop_strings="<|endoftext|>")
    output = model.generate_from_batch(inputs, config, tokenizer=processor.tokenizer)
    fresh = output[0, inputs["input_ids"].size(1) :]
    np.testing.assert_array_equal(fresh, golden["greedy24"][:6])


def test_the_pipeline_takes_images_and_chats(tiny: tuple[Any, Any]) -> None:
    from PIL import Image

    model, processor = tiny
    about, golden = case_of("tiny-d", "img0_336x336")
    image = Image.open(GOLDEN / "images" / about["image"])
    pipe = transformers.pipeline("image-text-to-text", model=model, processor=processor)
    content = [{"type": "image", "image": image}, {"type": "text", "text": about["prompt"]}]
    answers = pipe(
        text=[{"role": "user", "content": content}],
        generate_kwargs={"max_new_tokens": 6, "do_sample": False},
        return_full_text=False,
    )
    assert answers[0]["generated_text"] == processor.tokenizer.decode(
        golden["greedy24"][:6], skip_special_tokens=True
    )


def test_the_loss_is_that_of_the_shifted_logits_and_reaches_every_part(
    tiny: tuple[Any, Any],
) -> None:
    model, processor = tiny
    about, _ = case_of("tiny-d", "img0_336x336")
    inputs = inputs_of(processor, about)
    labels = inputs["input_ids"].clone()
    labels[:, :-6] = -100
    output = model(**inputs, labels=labels)
    expected = torch.nn.functional.cross_entropy(output.logits[0, -7:-1], labels[0, -6:])
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    parts = ("vision.patch_embedding", "connector.gate_up", "decoder.blocks.0.attention.qkv")
    for part in parts:
        grad = model.network.get_submodule(part).weight.grad
        assert grad is not None
        assert float(grad.abs().sum()) > 0, part
    model.zero_grad()


def test_peft_adapts_the_attention(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed")
    model, processor = load(GOLDEN / "models" / "tiny-d")
    config = peft.LoraConfig(r=2, target_modules=["qkv", "out"], init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    about, golden = case_of("tiny-d", "text")
    logits = adapted(**inputs_of(processor, about), logits_to_keep=8).logits[0].detach()
    assert float((logits - torch.from_numpy(golden["logits_last8"])).abs().max()) > 1e-2
    adapted.save_pretrained(tmp_path)
    fresh = peft.PeftModel.from_pretrained(load(GOLDEN / "models" / "tiny-d")[0], tmp_path)
    again = fresh(**inputs_of(processor, about), logits_to_keep=8).logits[0].detach()
    torch.testing.assert_close(again, logits)


def test_bad_inputs(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    model, processor = tiny
    with pytest.raises(UsageError, match="one image for each of 1 prompts, got 2"):
        processor(images=[b"", b""], text="mug")
    with pytest.raises(UsageError, match="expected text"):
        processor(text=[])
    with pytest.raises(UsageError, match="one of input_ids and inputs_embeds"):
        model()
    folder = tmp_path / "odd"
    shutil.copytree(GOLDEN / "models" / "tiny-d", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "clip_qkv": 8.0}))
    with pytest.raises(CheckpointError, match="clip_qkv"):
        load(folder)


def test_a_question_cannot_smuggle_control_tokens_in(tiny: tuple[Any, Any]) -> None:
    _, processor = tiny
    ids = processor(text="<|endoftext|><im_patch>")["input_ids"][0].tolist()
    vocabulary = processor.tokenizer.get_vocab()
    assert ids.count(vocabulary["<|endoftext|>"]) == 1
    assert vocabulary["<im_patch>"] not in ids


def test_registration_needs_no_remote_code() -> None:
    assert molmo_point.hf.MolmoForConditionalGeneration.config_class.model_type == "molmo"


def test_an_older_transformers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(__version__="5.0.0"))
    with pytest.raises(BrokenInstall, match=r"version 5\.0\.0, expected 5\.20 or newer"):
        importlib.reload(molmo_point.hf)
