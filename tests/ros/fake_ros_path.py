"""`fake_world`: the fake rclpy and its message packages importable, and gone again."""

import contextlib
import sys
from pathlib import Path

from molmo_point.service.dds.types import new_store

FAKE = Path(__file__).parent / "fake_ros"


@contextlib.contextmanager
def fake_world():
    """Within it, `import rclpy` and `import sensor_msgs.msg` give the fakes."""
    sys.path.insert(0, str(FAKE))
    import fake_messages

    fake_messages._classes.clear()
    installed = fake_messages.install(new_store("jazzy"))
    try:
        yield
    finally:
        sys.path.remove(str(FAKE))
        for name in [*sys.modules]:
            if name in installed or name.partition(".")[0] == "rclpy":
                del sys.modules[name]
