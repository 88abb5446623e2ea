"""Low-bit weights: codes and scales, every kernel against the decoded weights, all families, loading piece by piece."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import molmo_point as mp
from molmo_point.checkpoints.config import MolmoConfig
from molmo_point.engine.local import LocalPointer
from molmo_point.model.checkpoint_names import ParameterSlice
from molmo_point.model.int4_layout import split_codes
from molmo_point.model.low_bits import Int4Matrix, Int8Matrix, LowBitMatrix
from molmo_point.model.quantize import SCHEMES, low_bit_matrices, scheme_of
from molmo_point.model.weights import load_weights

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = {
    name: GOLDEN / place / name
    for place, names in (
        ("models", ("tiny-d", "tiny-o", "tiny-72b", "tiny-moe")),
        ("molmo2/models", ("tiny2-q", "tiny2-o")),
    )
    for name in names
}
IMAGE = GOLDEN / "images" / "img1_640x480.png"


def decoded(matrix: LowBitMatrix) -> torch.Tensor:
    """Return the weights of an unpacked matrix [..., N, K] float64, by the definition of the scheme."""
    if isinstance(matrix, Int8Matrix):
        return matrix.codes.double() * matrix.scales.double()[..., None]
    assert isinstance(matrix, Int4Matrix)
    assert not matrix.packed
    codes = split_codes(matrix.codes).double() - 8
    steps, zeros = matrix.scales.double().transpose(-3, -2).unbind(-1)
    weights = codes.unflatten(-1, (-1, matrix.group)) * steps[..., None] + zeros[..., None]
    return weights.flatten(-2)[..., : matrix.shape[-2], : matrix.shape[-1]]


def random_matrix(scheme: str, rows: int, columns: int, dtype: torch.dtype) -> LowBitMatrix:
    torch.manual_seed(1)
    matrix = SCHEMES[scheme]((rows, columns)).to(dtype)
    matrix.store(ParameterSlice(""), None, torch.randn(rows, columns) * 0.05)
    return matrix


def logits(pointer: LocalPointer) -> torch.Tensor:
    """Return the logits of 40 fixed tokens, in one pass and token by token behind a cache."""
    network = pointer.network
    ids = (torch.arange(40) * 7 % 200)[None]
    with torch.inference_mode():
        together = network(network.embed(ids), torch.arange(40)[None])
        cache = network.decoder.allocate_cache(8)
        steps = []
        for place in range(8):
            one = network.embed(ids[:, place : place + 1])
            steps.append(network(one, torch.tensor([[place]]), cache=cache))
            cache.keep([0])
    return torch.cat([together, torch.cat(steps, 1)], 1).double()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_codes_are_the_nearest(scheme: str) -> None:
    matrix = random_matrix(scheme, 70, 200, torch.float32)
    torch.manual_seed(1)
    weights = torch.randn(70, 200).double() * 0.05
    error = (decoded(matrix) - weights).abs()
    if isinstance(matrix, Int8Matrix):
        step = matrix.scales.double()[:, None].expand_as(error)
    else:
        step = matrix.scales[..., :70, 0].double().t().repeat_interleave(32, 1)[:, :200]
    assert float((error / step).max()) < 0.501
    assert float(step.max()) > 0


@pytest.mark.parametrize("shape", [(70, 200), (256, 512), (64, 4096)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_products_of_all_row_counts(
    scheme: str, dtype: torch.dtype, shape: tuple[int, int]
) -> None:
    """One row, a draft, a question, an image: different kernels, the same product up to the type's rounding."""
    matrix = random_matrix(scheme, *shape, dtype)
    weights = decoded(matrix)
    bound = 1e-5 if dtype is torch.float32 else 8e-3
    for packed in (False, True):
        if packed:
            matrix.pack()
        for rows in (1, 2, 5, 33, 97, 130):
            x = torch.randn(rows, shape[1]).to(dtype)
            x[0, 3] = 30.0  # an outlier, as in real activations
            expected = x.double() @ weights.t()
            error = (matrix.product(x).double() - expected).norm() / expected.norm()
            assert float(error) < bound, (rows, packed)


def test_integer_products_keep_small_activations_beside_an_outlier() -> None:
    """Activations in one part of 8 bits would lose everything below a 254th of the outlier."""
    matrix = random_matrix("int8", 64, 256, torch.bfloat16)
    x = torch.randn(3, 256).bfloat16()
    x[:, 0] = 200.0
    without = x.clone()
    without[:, 0] = 0
    weights = decoded(matrix)
    small = without.double() @ weights.t()
    found = matrix.product(x).double() - x[:, :1].double() @ weights[:, :1].t()
    rounding = 2.0**-8 * float((x.double() @ weights.t()).abs().max())
    assert float((found - small).abs().max()) < rounding


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_with_its_decoded_weights(name: str, scheme: str) -> None:
    """A network of full weights that are set to the decoded ones gives the same logits."""
    folder = FAMILIES[name]
    config = MolmoConfig.from_folder(folder)
    unpacked = load_weights(folder, config, scheme=scheme, packed=False)
    pointer = mp.load(folder, quantize=scheme, dtype="float32", max_new_tokens=4)
    assert scheme_of(pointer.network) == scheme
    found = logits(pointer)
    plain = mp.load(folder, dtype="float32")
    before = logits(plain)
    parameters = dict(plain.network.named_parameters())
    for key, matrix in low_bit_matrices(unpacked).items():
        parameters[key].data.copy_(decoded(matrix))
    expected = logits(plain)
    assert float((found - expected).abs().max()) < 2e-3
    assert float((before - expected).abs().max()) > 0.1
    kept = {key for key in parameters if "head" in key or "router" in key or "norm" in key}
    assert kept <= {name for name, _ in pointer.network.named_parameters()}
    assert pointer.ask(IMAGE, "Hi").finish_reason


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["tiny-d", "tiny-moe", "tiny2-q"])
def test_read_in_pieces_as_at_once(
    name: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FAMILIES[name]
    config = MolmoConfig.from_folder(folder)
    whole = load_weights(folder, config, scheme=scheme).state_dict()
    monkeypatch.setattr("molmo_point.model.weight_files.CHUNK_BYTES", 4096)
    pieces = load_weights(folder, config, scheme=scheme).state_dict()
    assert whole.keys() == pieces.keys()
    for key, tensor in whole.items():
        assert torch.equal(tensor, pieces[key]), key


LAYOUT = """
import sys, torch
sys.path.insert(0, {tests!r})
from test_low_bits import decoded, random_matrix
matrix = random_matrix("int4", 130, 256, torch.float32)
weights = decoded(matrix)
matrix.pack()
assert matrix.packed
for rows in (1, 200):
    x = torch.randn(rows, 256)
    assert float((matrix.product(x).double() - x.double() @ weights.t()).abs().max()) < 1e-4
print(torch.backends.cpu.get_cpu_capability())
"""


@pytest.mark.parametrize("level", ["default", "avx2"])
def test_int4_codes_are_packed_for_every_processor(level: str) -> None:
    """The kernel's order of codes depends on the processor; torch can be told to act like an older one."""
    done = subprocess.run(
        [sys.executable, "-c", LAYOUT.format(tests=str(Path(__file__).parent))],
        env={**os.environ, "ATEN_CPU_CAPABILITY": level},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().lower() in (level, "no avx")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_drafts_do_not_change_answers(scheme: str) -> None:
    """Passes over one token and over a draft use different kernels."""
    image = np.asarray(mp.images.load_image(Path(mp.__file__).parent / "nano" / "demo.png"))
    texts = [
        mp.load("nano", quantize=scheme, dtype="bfloat16", drafts=drafts).point(image, "zebra")
        for drafts in (False, True)
    ]
    assert texts[0].text == texts[1].text
    assert texts[1].timing.forward_passes <= texts[0].timing.forward_passes
