"""Continuous queries of clients: they push a camera's frames, the server tracks the points and publishes them.

For robots that have no OpenCV or no time for it. Frames are not answered one by one: their points go out under `points/<camera>`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from molmo_point.client.remote import RemotePointer
from molmo_point.defaults import WATCH_STOP_S
from molmo_point.errors import Busy, MissingExtra, PointError, Refused, UsageError
from molmo_point.images import load_image
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.in_process import InProcessTransport
from molmo_point.tracking.newest_item import NewestItem
from molmo_point.wire import Buffer, ImagePayload, Op, Request, WireError, check_image_payload
from molmo_point.wording import counted

log = logging.getLogger(__name__)


class CameraWatches:
    """The watched cameras of one server.

    Args:
        dispatcher: Where the questions go; also gives the limits and publishes.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._watched: dict[str, WatchedCamera] = {}

    def handle(self, caller: str, request: Request, payload: Buffer | None) -> None:
        """Begin, feed or end a watch; does not block.

        Raises:
            WireError: Something is missing from the request.
            Refused: Another client watches that camera, or the server publishes nothing.
            Busy: The server watches as many cameras as it can.
            PointError: What ended the watch.
        """
        camera = request.camera
        if camera is None:
            raise WireError(f'{request.op} needs "camera"')
        self._sweep()
        watched = self._watched.get(camera)
        if watched is not None and watched.caller != caller:
            raise Refused(f"another client watches camera {camera}: choose another name")
        keep_s = self._dispatcher.settings.view_idle_s
        if not self._dispatcher.cameras.claim(camera, ("zmq", caller), keep_s):
            raise Refused(f"another client uses camera {camera}: choose another name")
        if request.op is Op.WATCH:
            self._begin(caller, camera, request)
        elif watched is None:
            raise WireError(f"camera {camera} is not watched: begin with the operation watch")
        elif request.op is Op.UNWATCH:
            self._watched.pop(camera).stop()
            self._dispatcher.cameras.release(camera, ("zmq", caller))
        elif payload is None or request.image is None:
            raise WireError("frame needs an image")
        else:
            image_payload = ImagePayload(request.image, payload)
            check_image_payload(image_payload, self._dispatcher.settings.max_pixels)
            watched.put(image_payload, request)

    def stop(self) -> None:
        """End every watch; returns when its threads have ended, after `WATCH_STOP_S` seconds each at the latest."""
        # A copy: the socket's thread may still begin or end one.
        ending = list(self._watched.values())
        self._watched.clear()
        for watched in ending:
            watched.stop()
        for watched in ending:
            watched.join(WATCH_STOP_S)

    def _begin(self, caller: str, camera: str, request: Request) -> None:
        if self._dispatcher.publish_port is None:
            raise Refused("this server publishes nothing: it was started without --publish")
        if not request.queries:
            raise WireError('watch needs "queries", a list of what to look for')
        known = self._watched.pop(camera, None)
        if known is not None:
            known.stop()
        if len(self._watched) >= self._dispatcher.settings.max_watches:
            raise Busy(
                f"{counted(len(self._watched), 'camera')} watched already, the server takes no more"
            )
        self._watched[camera] = WatchedCamera(self._dispatcher, caller, camera, request.queries)

    def _sweep(self) -> None:
        """End the watches whose cameras have been silent for long."""
        oldest = time.monotonic() - self._dispatcher.settings.view_idle_s
        for camera in [c for c, watched in self._watched.items() if watched.fed < oldest]:
            self._watched.pop(camera).stop()


class WatchedCamera:
    """One camera: a thread of its own decodes the newest frame, follows and publishes."""

    def __init__(
        self, dispatcher: Dispatcher, caller: str, camera: str, queries: Sequence[str]
    ) -> None:
        try:
            from molmo_point.tracking.camera_watch import CameraWatch
        except MissingExtra as error:
            raise Refused(f"this server cannot follow points: {error}") from None
        self.caller = caller
        self._max_pixels = dispatcher.settings.max_pixels
        self.fed = time.monotonic()
        self._problem: PointError | None = None
        self._newest: NewestItem[tuple[ImagePayload, Request]] = NewestItem()
        pointer = RemotePointer(InProcessTransport(dispatcher), camera=camera)
        self._watch = CameraWatch(
            pointer, queries, camera=camera, publish=dispatcher.publish
        ).start()
        self._thread = threading.Thread(
            target=self._run, name=f"molmo-camera-{camera}", daemon=True
        )
        self._thread.start()

    def put(self, image_payload: ImagePayload, request: Request) -> None:
        """Take the place of a frame that still waits; raise what an earlier frame ended with."""
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem
        self.fed = time.monotonic()
        self._newest.put((image_payload, request))

    def stop(self) -> None:
        """End soon; does not wait for a question that is under way."""
        self._newest.close()

    def join(self, timeout_s: float) -> None:
        """Wait until the threads have ended: they must not run on into the end of the process."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._newest.closed:
            newest = self._newest.take(1.0)
            if newest is None:
                continue
            image_payload, request = newest
            try:
                self._watch.frame(
                    load_image(image_payload.image(), max_pixels=self._max_pixels),
                    stamp_ns=request.stamp_ns,
                )
            except PointError as error:
                self._problem = error
            except Exception as error:
                log.exception("a frame could not be followed")
                self._problem = UsageError(f"the frame cannot be read ({type(error).__name__})")
        self._watch.stop()
