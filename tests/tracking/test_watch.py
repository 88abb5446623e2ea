"""Standing queries: a slow model, a fast camera, points for every frame; here, through a server, on the command line."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from molmo_point.errors import Busy, QueryError, ServerGone, UsageError
from molmo_point.images import Array
from molmo_point.points import Point
from molmo_point.testing import FakePointer
from molmo_point.wire import ImageHeader, Op, Publication, Request, encode_request

cv2 = pytest.importorskip("cv2", reason="OpenCV (the extra 'tracking') is not installed")

from molmo_point.tracking.camera_watch import CameraWatch  # noqa: E402
from molmo_point.tracking.frame_sources import frames  # noqa: E402

SIZE = (320, 240)


def scene(t: int) -> Array:
    """A red square that wanders over a textured floor, (240, 320, 3) uint8."""
    rng = np.random.default_rng(0)
    small = rng.integers(60, 120, (40, 54, 3), dtype=np.uint8)
    image = cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC)
    x, y = corner(t)
    image[y : y + 30, x : x + 30] = (220, 30, 30)
    image[y + 10 : y + 20, x + 5 : x + 15] = (250, 220, 200)
    return np.asarray(image)


def corner(t: int) -> tuple[int, int]:
    return 40 + 2 * t, 60 + t


def find_red(image: Array, query: str) -> list[Point]:
    """What a model would say: the middle of what is red."""
    red = (image[..., 0] > 180) & (image[..., 2] < 110)
    if query != "red" or not red.any():
        return []
    v, u = np.nonzero(red)
    return [Point(x=(u.mean() + 0.5) / SIZE[0], y=(v.mean() + 0.5) / SIZE[1], label=query)]


def error_px(publication: Publication, t: int) -> float:
    point = publication.pointing.points[0]
    x, y = corner(t)
    return float(np.hypot(point.x * SIZE[0] - (x + 15.5), point.y * SIZE[1] - (y + 15)))


def test_points_come_at_the_cameras_rate_from_a_slow_model() -> None:
    heard: list[Publication] = []
    pointer = FakePointer(find_red, delay_s=0.15)
    with CameraWatch(pointer, ["red", "blue"], camera="front", publish=heard.append) as watch:
        wait_for(lambda: watch.frame(scene(0), stamp_ns=0, time_s=0.0)[0].tracks)
        for t in range(40):
            red, blue = watch.frame(scene(t), stamp_ns=t, time_s=0.03 * t)
            assert red.pointing.stamp_ns == t
            assert error_px(red, t) < 3, f"frame {t}"
            assert blue.tracks == ()
            time.sleep(0.01)
    assert 2 <= watch.asked < 30
    ids = {track.id for publication in heard for track in publication.tracks}
    assert len(ids) == 1
    ages = [track.evidence_age_s for publication in heard for track in publication.tracks]
    assert max(ages) > 0.1
    assert all(publication.camera == "front" for publication in heard)


def wait_for(condition: Any, wait_s: float = 20.0) -> Any:
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("it never happened")


def test_the_image_is_encoded_once_for_several_queries() -> None:
    opened = []

    class Counting(FakePointer):
        def open(self, image: Any) -> Any:
            opened.append(1)
            return super().open(image)

    with CameraWatch(
        Counting(find_red), ["red", "blue", "green"], publish=lambda p: None
    ) as watch:
        watch.frame(scene(0))
        wait_for(lambda: watch.asked >= 1)
    assert len(opened) == watch.asked


def test_a_failing_model_is_asked_again_and_points_are_carried_meanwhile() -> None:
    answers = iter([None, Busy("full"), ServerGone("nobody there"), RuntimeError("boom")])

    def moody(image: Array, query: str) -> Any:
        problem = next(answers, None)
        if isinstance(problem, Exception):
            raise problem
        return find_red(image, query)

    with CameraWatch(FakePointer(moody), ["red"], publish=lambda p: None) as watch:
        wait_for(lambda: watch.frame(scene(0))[0].tracks)
        wait_for(lambda: watch.frame(scene(1)) and watch.failed >= 3)
        assert error_px(watch.frame(scene(2))[0], 2) < 3
        wait_for(lambda: watch.frame(scene(2)) and watch.asked >= 2)


def test_a_query_that_the_model_refuses_comes_back_to_the_caller() -> None:
    with CameraWatch(
        FakePointer({"x": QueryError("too long")}), ["x"], publish=lambda p: None
    ) as watch:
        watch.frame(scene(0))
        with pytest.raises(QueryError, match="too long"):
            wait_for(lambda: watch.frame(scene(0)) and False, 5.0)


def test_wrong_queries_are_refused() -> None:
    for queries in ([], [" "], ["red", ""]):
        with pytest.raises(QueryError, match="expected at least one query"):
            CameraWatch(FakePointer(), queries, publish=lambda p: None)


def test_frames_pushed_to_a_server_come_back_as_published_points(start: Any) -> None:
    import zmq

    from molmo_point.client.subscribe import subscribe

    service = start(FakePointer(find_red, delay_s=0.05))
    context: Any = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(service.zmq.address)

    def send(name: str, op: Op, image: Array | None = None, **fields: Any) -> None:
        header = None
        if image is not None:
            header = ImageHeader(encoding="raw", shape=(*SIZE[::-1], 3), dtype="uint8")
        request = Request(id=name, client="robot", op=op, camera="front", image=header, **fields)
        payload = image.tobytes() if image is not None else None
        dealer.send_multipart(encode_request(request, payload))

    def reply() -> dict[str, Any]:
        assert dealer.poll(10_000)
        value: dict[str, Any] = json.loads(dealer.recv_multipart()[0])
        return value

    send("f", Op.FRAME, scene(0))
    assert "begin with the operation watch" in reply()["error"]["message"]
    send("w", Op.WATCH, queries=("red",))
    assert reply()["type"] == "done"
    stamps = itertools.count()
    with subscribe(service.zmq.publish_address, "front") as heard:

        def pushed(t: int, patience: int = 50) -> Publication | None:
            """Push a frame and wait for what is published about it: one at a time, so that none takes another one's place."""
            stamp = next(stamps)
            send(f"f{stamp}", Op.FRAME, scene(t), stamp_ns=stamp)
            for _ in range(patience):
                publication = heard.receive(timeout_s=0.2)
                if publication is not None and publication.pointing.stamp_ns == stamp:
                    return publication
            return None  # published before the subscription had arrived

        def begun() -> Publication | None:
            publication = pushed(0, patience=5)
            return publication if publication is not None and publication.tracks else None

        followed = [wait_for(begun, 60.0)]
        for t in range(1, 40):
            publication = pushed(t)
            assert publication is not None
            assert len(publication.tracks) == 1, f"frame {t}"
            assert error_px(publication, t) < 3, f"frame {t}"
            followed.append(publication)
        assert len({publication.tracks[0].id for publication in followed}) == 1
        send("again", Op.WATCH, queries=("blue",))
        assert reply()["type"] == "done"
        restarted = pushed(0)
        assert restarted is not None
        assert (restarted.pointing.query, restarted.tracks) == ("blue", ())
    stranger = context.socket(zmq.DEALER)
    stranger.connect(service.zmq.address)
    stranger.send_multipart(encode_request(Request(id="s", op=Op.UNWATCH, camera="front")))
    assert stranger.poll(10_000)
    assert json.loads(stranger.recv_multipart()[0])["error"]["kind"] == "refused"
    send("u", Op.UNWATCH)
    assert reply()["type"] == "done"
    context.destroy(0)


@pytest.fixture
def video(tmp_path: Path) -> str:
    path = str(tmp_path / "scene.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 30, SIZE)
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write MJPG videos")
    for t in range(30):
        writer.write(cv2.cvtColor(scene(t), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


def test_a_videos_frames_carry_their_place_in_it(video: str) -> None:
    read = list(frames(video, paced=False))
    assert len(read) == 30
    assert read[3].stamp_ns == pytest.approx(1e8, rel=1e-6)
    assert read[0].image.shape == (240, 320, 3)
    assert abs(int(read[0].image[62, 42, 0]) - 220) < 25  # red is first


def test_sources_that_are_none_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for source, words in (
        (str(tmp_path / "none.mp4"), "there is no video"),
        (str(text), "cannot be opened"),
    ):
        with pytest.raises(UsageError, match=words):
            next(frames(source))
    with pytest.raises(UsageError, match="camera 97 cannot be opened"):
        next(frames("97"))
    with pytest.raises(ServerGone, match="no video comes from"):
        next(frames("rtsp://127.0.0.1:9/x"))


def test_the_command_follows_a_video_through_a_server(start: Any, video: str) -> None:
    from molmo_point.cli.watch import register

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    service = start(FakePointer(find_red))
    arguments = ["watch", "--source", video, "--query", "red", "--connect", service.zmq.address]
    done = CliRunner().invoke(app, [*arguments, "--json", "--camera", "front"])
    assert done.exit_code == 0, done.output
    lines = [Publication.model_validate_json(line) for line in done.stdout.splitlines()]
    assert len(lines) == 30
    assert {line.camera for line in lines} == {"front"}
    assert sum(len(line.tracks) for line in lines) > 10
    assert "30 frames" in done.stderr
    nothing = CliRunner().invoke(app, [*arguments[:4], "unicorn", *arguments[5:], "--frames", "3"])
    assert nothing.exit_code == 3
    assert nothing.stdout == "unicorn: nothing\n"


def test_the_command_publishes_what_it_follows(start: Any, video: str) -> None:
    import socket

    from molmo_point.cli.watch import register
    from molmo_point.client.subscribe import subscribe

    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    service = start(FakePointer(find_red))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    heard: list[Publication] = []
    ended = threading.Event()

    def listen() -> None:
        with subscribe(place) as subscription:
            while not ended.is_set():
                publication = subscription.receive(timeout_s=0.1)
                if publication is not None:
                    heard.append(publication)

    thread = threading.Thread(target=listen)
    thread.start()
    arguments = ["watch", "--source", video, "--query", "red", "--connect", service.zmq.address]
    done = CliRunner().invoke(app, [*arguments, "--publish", place, "--quiet"])
    time.sleep(0.3)
    ended.set()
    thread.join(10)
    assert done.exit_code == 0, done.output
    assert len(heard) > 5
    open_ = CliRunner().invoke(app, [*arguments, "--publish", "tcp://0.0.0.0:*"])
    assert isinstance(open_.exception, UsageError)


def test_a_password_in_an_address_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    for source in ("rtsp://bob:s3cret@127.0.0.1:9/live", "http://bob:s3cret@127.0.0.1:9/x?a@b"):
        with pytest.raises(ServerGone, match=r"//\*\*\*@127.0.0.1:9/") as gone:
            next(frames(source))
        assert "s3cret" not in str(gone.value)
        assert "s3cret" not in caplog.text
    with pytest.raises(UsageError, match=r"there is no video a@b\.mp4"):
        next(frames("a@b.mp4"))


def test_opencv_writes_nothing_of_its_own_whatever_is_imported_first() -> None:
    code = (
        "import molmo_point.tracking.tracker\n"
        "from molmo_point.errors import UsageError\n"
        "from molmo_point.tracking.frame_sources import frames\n"
        "try: next(frames('/dev/video77'))\n"
        "except UsageError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("refused\n", "")
