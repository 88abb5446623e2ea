"""A bridge in a process of its own, with a pointer that finds the red ball: started by test_dds.py and benchmarks/dds.py."""

from __future__ import annotations

import json
import resource
import signal
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[2]
for folder in (
    ROOT,
    ROOT / "ros2_ws" / "src" / "molmo_robot",
    ROOT / "ros2_ws" / "src" / "molmo_point_ros",
    ROOT / "calibration",
    Path(__file__).parent,
):
    sys.path.insert(0, str(folder))

from molmo_robot.cli.bridge import serve  # noqa: E402
from robot_scene import find_ball  # noqa: E402

from molmo_point.testing import FakePointer  # noqa: E402


def main() -> None:
    options = json.loads(sys.argv[1])
    parameters = options.pop("parameters")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    serve(FakePointer(find_ball), parameters, stopped, **options)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu_s": usage.ru_utime + usage.ru_stime}), flush=True)


if __name__ == "__main__":
    main()
