"""CPU time and latency of the DDS bridge: 640x480 images to a bridge in another process over loopback.

    python -m benchmarks.dds [--images 200] [--rate 20] [--follow]

The pointer in the bridge is a fake that answers at once, so what is measured is transport, conversion, positions and publishing.
`own time` is the CPU time of the bridge's whole process for each image; `latency` is from writing the image to having its
answer. With `--follow` the optical flow between answers is part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
CHILD = """
import json, resource, signal, sys, threading
from molmo_robot.cli.bridge import serve
from molmo_point.testing import FakePointer
options = json.loads(sys.argv[1])
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
def cpu(*_):
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(usage.ru_utime + usage.ru_stime, flush=True)
signal.signal(signal.SIGUSR1, cpu)
serve(FakePointer({"mug": [(0.25, 0.5)]}), options.pop("parameters"), stopped, quiet=True, **options)
"""
WIDTH, HEIGHT = 640, 480
PARAMETERS = {
    "query": "mug",
    # Best effort would lose images wherever the kernel's receive buffer is smaller than two of them, which is its default.
    "camera.reliability": "reliable",
    "camera.image_topic": "/camera/image",
    "camera.info_topic": "/camera/camera_info",
    "camera.depth_topic": "/camera/depth",
}


class Camera:
    """Writes images with depth and waits for the answer to each."""

    def __init__(self, domain: int) -> None:
        from molmo_robot.dds.participant import Participant
        from molmo_robot.dds.types import RosTypes
        from molmo_robot.qos import Qos

        self.make = RosTypes().make
        self.participant = Participant("camera", RosTypes(), domain=domain)
        sensor = Qos(reliable=True)
        self.image = self.participant.writer("/camera/image", "sensor_msgs/msg/Image", sensor)
        self.depth = self.participant.writer("/camera/depth", "sensor_msgs/msg/Image", sensor)
        self.info = self.participant.writer(
            "/camera/camera_info", "sensor_msgs/msg/CameraInfo", sensor
        )
        self.arrived: dict[int, float] = {}
        self.news = threading.Condition()
        self.participant.reader(
            "/molmo_point/points",
            "molmo_point_msgs/msg/PointArray",
            Qos(latched=True),
            self._hear,
        )
        self._rgb = np.random.default_rng(0).integers(0, 256, WIDTH * HEIGHT * 3, np.uint8)
        self._metres = np.full(WIDTH * HEIGHT, 1.5, np.float32).view(np.uint8)

    def _hear(self, message: Any) -> None:
        with self.news:
            self.arrived[message.header.stamp.sec] = time.perf_counter()
            self.news.notify_all()

    def show(self, number: int) -> float:
        """Publish image `number`; returns when it was written."""
        make = self.make
        stamp = make("builtin_interfaces/msg/Time", sec=number, nanosec=0)
        header = make("std_msgs/msg/Header", stamp=stamp, frame_id="camera")
        size = {"header": header, "height": HEIGHT, "width": WIDTH, "is_bigendian": 0}
        kind = "sensor_msgs/msg/Image"
        self.info.publish(self._info(header))
        self.depth.publish(make(kind, encoding="32FC1", step=4 * WIDTH, data=self._metres, **size))
        image = make(kind, encoding="rgb8", step=3 * WIDTH, data=self._rgb, **size)
        start = time.perf_counter()
        self.image.publish(image)
        return start

    def wait(self, number: int, timeout_s: float) -> float | None:
        """Return when the answer to image `number` came, or None."""
        with self.news:
            self.news.wait_for(lambda: number in self.arrived, timeout_s)
            return self.arrived.get(number)

    def _info(self, header: Any) -> Any:
        k = [500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1]
        roi = self.make(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        )
        return self.make(
            "sensor_msgs/msg/CameraInfo",
            header=header,
            height=HEIGHT,
            width=WIDTH,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=k,
            r=np.eye(3).ravel(),
            p=[500.0, 0, 319.5, 0, 0, 500.0, 239.5, 0, 0, 0, 1, 0],
            binning_x=0,
            binning_y=0,
            roi=roi,
        )


def cpu_of(child: subprocess.Popen[str]) -> float:
    """CPU seconds the bridge has used."""
    import signal

    child.send_signal(signal.SIGUSR1)
    assert child.stdout is not None
    return float(child.stdout.readline())


def measure(images: int, rate_hz: float, follow: bool) -> tuple[np.ndarray, float, int]:
    """Return latencies in seconds, the bridge's CPU seconds an image, and how many answers were missing."""
    domain = 1 + os.getpid() % 230
    camera = Camera(domain)
    options = {
        "parameters": {**PARAMETERS, "follow": follow},
        "domain": domain,
        "node": "molmo_point",
    }
    folders = [ROOT, ROOT / "ros2_ws" / "src" / "molmo_robot", ROOT / "calibration"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        for number in range(1, 200):
            camera.show(number)
            if camera.wait(number, 0.2):
                break
        before, latencies, missing = cpu_of(child), [], 0
        for number in range(1000, 1000 + images):
            start = camera.show(number)
            end = camera.wait(number, 2.0)
            missing += end is None
            if end is not None:
                latencies.append(end - start)
            time.sleep(max(0.0, 1 / rate_hz - (time.perf_counter() - start)))
        own_s = (cpu_of(child) - before) / images
    finally:
        child.terminate()
        child.wait(20)
        camera.participant.close()
    return np.array(latencies), own_s, missing


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20.0, help="images a second")
    parser.add_argument("--follow", action="store_true", help="optical flow between answers")
    arguments = parser.parse_args()
    latencies, own_s, missing = measure(arguments.images, arguments.rate, arguments.follow)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"{arguments.images} images of {WIDTH}x{HEIGHT} with depth at {arguments.rate:g} Hz")
    print("| | ms |\n|---|---|")
    print(f"| bridge's own CPU time an image | {own_s * 1e3:.2f} |")
    for name, value in (("median", 50), ("95 %", 95), ("worst", 100)):
        print(f"| latency image -> answer, {name} | {np.percentile(latencies, value) * 1e3:.2f} |")
    print(f"answers missing: {missing}")


if __name__ == "__main__":
    main()
