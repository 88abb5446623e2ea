"""`fake_world`: the fake rclpy and its message packages importable, and gone again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molmo_robot.dds.types import new_store

FAKE = Path(__file__).parent / "fake_ros"


@contextlib.contextmanager
def fake_world() -> Iterator[Any]:
    """Within it, `import rclpy` and `import sensor_msgs.msg` give the fakes; a real one that was loaded comes back after it."""
    before = dict(sys.modules)
    for name in before:
        if _top(name) == "rclpy":
            # Set aside, not forgotten: a compiled module cannot be loaded a second time.
            del sys.modules[name]
    sys.path.insert(0, str(FAKE))
    import fake_messages

    fake_messages._classes.clear()
    installed = {_top(name) for name in fake_messages.install(new_store("jazzy"))} | {"rclpy"}
    try:
        yield
    finally:
        sys.path.remove(str(FAKE))
        for name in [*sys.modules]:
            if _top(name) in installed:
                del sys.modules[name]
        sys.modules.update({n: m for n, m in before.items() if _top(n) in installed})


def _top(name: str) -> Any:
    return name.partition(".")[0]
