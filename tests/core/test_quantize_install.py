"""A torchao that is too old says so, and how to bring it up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import molmo_point as mp
from molmo_point.errors import BrokenInstall

TINY = Path(__file__).parents[1] / "golden" / "models" / "tiny-d"


def test_a_torchao_that_lacks_the_names_is_broken_not_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "torchao" / "quantization"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("quantize_ = None\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchao"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BrokenInstall, match=r"Int8WeightOnlyConfig.* --upgrade"):
        mp.load(TINY, quantize="int8")
    for name in [name for name in sys.modules if name.split(".")[0] == "torchao"]:
        del sys.modules[name]
