"""Requests and replies of the wire through Ray Serve: to any replica, or to the one that has the opened image."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
    RequestCancelledError,
)
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from molmo_point.client.cancellation import CancelToken
from molmo_point.client.transport import Replies
from molmo_point.errors import Cancelled, ServerGone, TimedOut, UsageError
from molmo_point.wire import Op, Payload, Reply, Request, ServerInfo, UnknownRequest, ViewGone

GRACE_S = 2.0
"""How much longer than a replica's deadline its last reply is waited for."""

RETRY_S = 0.5
"""Between two attempts; Ray needs seconds to start a replica in the place of one that died."""

ROUTING_S = 3.0
"""How long a question about an opened image is repeated: Ray takes about a second to learn which replica has it."""

LOST = (RayActorError, ReplicaUnavailableError, BackPressureError)
"""A replica died, left, or had no room: another one is asked."""


class RayTransport:
    """A `Transport` to the replicas of one deployment.

    Args:
        handle: The deployment.
        url: Its name, for messages.
    """

    def __init__(self, handle: DeploymentHandle, url: str) -> None:
        self._handle = handle
        self.url = url
        self._closed = False
        self._attempts = itertools.count()
        # Handle of an opened image -> what Ray knows the replica that has it by; until it is closed or known to be gone.
        self._opened: dict[str, str] = {}

    def hello(self, timeout_s: float) -> ServerInfo:
        """As `Transport.hello`."""
        try:
            answer = self._handle.hello.remote().result(timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimedOut(
                f"no replica of {self.url} answered within {timeout_s:.0f} s"
            ) from error
        except (RayError, RayServeException) as error:
            raise self._gone(error) from error
        return ServerInfo.model_validate_json(answer)

    def exchange(
        self,
        request: Request,
        image_payload: Payload | None,
        timeout_s: float,
        cancel_token: CancelToken | None = None,
    ) -> Replies:
        """As `Transport.exchange`. When a replica dies another one is asked, and replies heard before are skipped."""
        cancel_token = cancel_token or CancelToken()
        until = time.monotonic() + timeout_s + GRACE_S
        routed_by = min(until, time.monotonic() + ROUTING_S) - RETRY_S
        expected = 0
        while True:
            try:
                for reply in self._attempt(request, image_payload, until, cancel_token):
                    if reply.seq < expected:
                        continue
                    if _is_view_gone(reply) and request.view in self._opened:
                        if time.monotonic() < routed_by:
                            raise UnknownRequest("another replica has the opened image")
                        # Its replica died, or has closed it: the caller opens the image again, under another handle.
                        self._opened.pop(request.view, None)
                    expected = reply.seq + 1
                    yield reply
                    if reply.last:
                        return
                raise ServerGone(f"a replica of {self.url} ended its answer early")
            except (*LOST, UnknownRequest) as error:
                if time.monotonic() + RETRY_S >= until:
                    raise self._gone(error) from error
                time.sleep(RETRY_S)
            except RequestCancelledError:
                if cancel_token.cancelled:
                    raise Cancelled("the request was cancelled by its caller") from None
                raise TimedOut(
                    f"{self.url} gave no complete answer within {timeout_s:.1f} s"
                ) from None
            except (RayError, DeploymentUnavailableError) as error:
                raise self._gone(error) from error

    def close(self) -> None:
        """As `Transport.close`; the replicas go on."""
        self._closed = True

    def _attempt(
        self,
        request: Request,
        image_payload: Payload | None,
        until: float,
        cancel_token: CancelToken,
    ) -> Iterator[Reply]:
        if self._closed:
            raise UsageError("this pointer is closed: connect again")
        place = self._place(request, image_payload)
        handle = self._handle.options(stream=True, multiplexed_model_id=place)
        payload = None if image_payload is None else bytes(image_payload.data)
        left_s = max(0.1, until - GRACE_S - time.monotonic())
        # A name of its own for each attempt: under one name a replica takes another time limit for another question.
        named = {"id": f"{request.id}.{next(self._attempts)}", "timeout_s": left_s}
        header = request.model_copy(update=named).model_dump_json().encode()
        answers = handle.exchange.remote(header, payload, request.client or "ray")
        with ExitStack() as stack:
            stack.callback(answers.cancel)
            stack.enter_context(cancel_token.on_cancel(answers.cancel))
            stack.enter_context(_Deadline(answers, until))
            for answer in answers:
                reply = Reply.model_validate_json(answer).model_copy(update={"id": request.id})
                if reply.error is not None and reply.error.kind == UnknownRequest.kind:
                    raise UnknownRequest("the replica is stopping")
                if reply.view is not None:
                    self._opened[reply.view.handle] = place
                yield reply

    def _place(self, request: Request, image_payload: Payload | None) -> str:
        """Return what Ray chooses the replica by; "" for any of them."""
        if request.op is Op.OPEN and image_payload is not None:
            return hashlib.sha1(image_payload.data, usedforsecurity=False).hexdigest()
        if request.op is Op.CLOSE:
            return self._opened.pop(request.view or "", "")
        return self._opened.get(request.view or "", "")

    def _gone(self, error: Exception) -> ServerGone:
        reason = str(error).strip().splitlines()
        return ServerGone(
            f"no replica of {self.url} answers ({type(error).__name__}: {reason[-1] if reason else ''}): see `serve status` "
            "and the logs of Ray on the machine of the replica"
        )


def _is_view_gone(reply: Reply) -> bool:
    return reply.error is not None and reply.error.kind == ViewGone.kind


class _Deadline:
    """Cancels an exchange at a moment; for a `with` block."""

    def __init__(self, answers: DeploymentResponseGenerator, until: float) -> None:
        self._timer = threading.Timer(max(0.0, until - time.monotonic()), answers.cancel)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()
