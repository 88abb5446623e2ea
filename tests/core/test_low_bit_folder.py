"""Folders of low-bit weights: written whole or not at all, loaded as they were written, refused where they are damaged."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import molmo_point as mp
from molmo_point.api import write_quantized
from molmo_point.engine.local import LocalPointer
from molmo_point.errors import CheckpointError, PointError, UsageError

GOLDEN = Path(__file__).parents[1] / "golden"
IMAGE = GOLDEN / "images" / "img1_640x480.png"
TINY = GOLDEN / "models" / "tiny-d"


def logits(pointer: LocalPointer) -> torch.Tensor:
    network = pointer.network
    ids = (torch.arange(30) * 7 % 200)[None]
    with torch.inference_mode():
        return network(network.embed(ids), torch.arange(30)[None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_quantized(TINY, tmp_path_factory.mktemp("low") / "tiny", scheme="int4")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("scheme", ["int8", "int4"])
@pytest.mark.parametrize("name", ["models/tiny-d", "models/tiny-moe", "molmo2/models/tiny2-q"])
def test_loads_as_quantized_while_loading(name: str, scheme: str, tmp_path: Path) -> None:
    out = write_quantized(GOLDEN / name, tmp_path / "out", scheme=scheme)
    written, direct = (
        mp.load(out, dtype="bfloat16"),
        mp.load(GOLDEN / name, quantize=scheme, dtype="bfloat16"),
    )
    assert torch.equal(logits(written), logits(direct))
    ours = dict(written.network.state_dict())
    for key, tensor in direct.network.state_dict().items():
        assert torch.equal(tensor, ours[key]), key
    assert mp.load(out, quantize=scheme, dtype="float32").network.dtype is torch.float32
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    full = sum(path.stat().st_size for path in (GOLDEN / name).glob("*.safetensors"))
    assert size < full


def test_small_files_travel_and_the_config_names_the_scheme(folder: Path) -> None:
    kept = {path.name for path in TINY.glob("*token*.json")} | {"preprocessor_config.json"}
    assert kept <= {path.name for path in folder.iterdir()}
    config = json.loads((folder / "config.json").read_text())
    assert config["quantization_config"] == {
        "quant_method": "molmo-point",
        "version": 1,
        "scheme": "int4",
    }
    pointing = mp.load(folder, dtype="float32", max_new_tokens=8).point(IMAGE, "cat")
    assert pointing.model == "tiny"


def test_int8_weights_are_mapped(tmp_path: Path) -> None:
    """Codes stay in the file's pages: a byte that is changed in the file is changed in the network."""
    out = write_quantized(TINY, tmp_path / "out", scheme="int8")
    network = mp.load(out, dtype="bfloat16").network
    codes = network.decoder.embedding.weight.codes
    before = codes.clone()
    path = next(
        path for path in out.glob("*.safetensors") if "decoder.head.weight" in load_file(path)
    )
    tensors = load_file(path)
    raw = tensors["decoder.embedding.weight.codes"].flatten()[:64].numpy().tobytes()
    data = path.read_bytes()
    place = data.index(raw)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(bytes(64))
    assert int((codes.flatten()[:64] != 0).sum()) == 0
    assert torch.equal(codes.flatten()[64:], before.flatten()[64:])


def rewrite(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config["quantization_config"])
        (folder / "config.json").write_text(json.dumps(config))

    return damage


def cut_short(folder: Path) -> None:
    path = sorted(folder.glob("*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-100])


def a_file_less(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[1].unlink()


def a_tensor_less(folder: Path) -> None:
    path = sorted(folder.glob("*.safetensors"))[1]
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path)


def codes_of_another_scheme(folder: Path) -> None:
    rewrite(lambda settings: settings.update(scheme="int8"))(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (rewrite(lambda settings: settings.update(version=2)), "version 2 .* reads 1"),
        (rewrite(lambda settings: settings.update(scheme="int3")), "int8, int4, got 'int3'"),
        (rewrite(lambda settings: settings.update(quant_method="gptq")), r"quantized \(gptq\)"),
        (cut_short, "damaged or cut short"),
        (a_file_less, "lacks 1 of"),
        (a_tensor_less, "is missing.*quantize"),
        (codes_of_another_scheme, "expected"),
    ],
)
def test_damaged_folders_are_refused(
    copy: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(copy)
    with pytest.raises(CheckpointError, match=words):
        mp.load(copy)


def test_another_scheme_than_the_stored_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds int4 weights"):
        mp.load(folder, quantize="int8")
    with pytest.raises(UsageError, match="give the original"):
        write_quantized(folder, tmp_path / "out")


def test_what_exists_is_not_overwritten(folder: Path) -> None:
    before = sorted(path.stat().st_mtime_ns for path in folder.iterdir())
    with pytest.raises(UsageError, match="exists"):
        write_quantized(TINY, folder)
    assert sorted(path.stat().st_mtime_ns for path in folder.iterdir()) == before


@pytest.mark.parametrize("arguments", [{"scheme": "int3"}, {"dtype": "auto"}])
def test_wrong_arguments_leave_nothing(tmp_path: Path, arguments: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="expected"):
        write_quantized(TINY, tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


WRITE = """
import resource, sys
from pathlib import Path
from molmo_point.api import write_quantized
from molmo_point.errors import UsageError
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    write_quantized({tiny!r}, {out!r})
except UsageError as error:
    print(error)
"""


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    """The limit on a file's size fails a write in the middle, as a full disk does."""
    code = WRITE.format(limit=60_000, tiny=str(TINY), out=str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "could not be written, and nothing is left of it" in done.stdout
    assert not list(tmp_path.iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_too_small_a_disk_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(PointError, match="GB free"):
        write_quantized(TINY, tmp_path / "out")
    assert not list(tmp_path.iterdir())
