"""A whole server: the dispatcher, its worker and the transports, started and stopped together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from molmo_point.defaults import HTTP_HOST, HTTP_PORT, PUBLISH_ADDRESS, ZMQ_ADDRESS
from molmo_point.errors import PointError, ServiceError, UsageError
from molmo_point.pointer import Pointer
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.http.app import HttpOptions
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.http.server import HttpServer
from molmo_point.service.log_limit import LogLimit
from molmo_point.service.settings import Settings
from molmo_point.service.zmq.server import ZmqServer

log = logging.getLogger(__name__)

HEALTH_POLL_S = 0.5
"""How often the main thread checks that every part is alive."""


@dataclass(frozen=True)
class ServeOptions:
    """Where and for whom a server listens.

    Attributes:
        zmq: tcp://HOST:PORT for questions, or None.
        publish: The same for published answers, or None.
        http: (host, port), or None.
        curve_dir: Folder of keys for ZeroMQ.
        tokens: For HTTP.
        image_hosts: Hosts that images may be fetched from.
        inner_hosts: Allow those to be inside this network.
        allow_hosts: Host names of this server behind a proxy, as in `HttpOptions`.
        allow_origins: Origins whose web pages may ask, too.
        label_studio: Address of the Label Studio whose backend this server is, or None.
        names: Of the model, and the dialect of answers, for OpenAI's clients.
        insecure: Serve other machines without keys and tokens.
        settings: Limits.
    """

    zmq: str | None = ZMQ_ADDRESS
    publish: str | None = PUBLISH_ADDRESS
    http: tuple[str, int] | None = (HTTP_HOST, HTTP_PORT)
    curve_dir: Path | None = None
    tokens: Sequence[str] = ()
    image_hosts: Sequence[str] = ()
    inner_hosts: bool = False
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    label_studio: str | None = None
    names: ModelNames = field(default_factory=ModelNames)
    insecure: bool = False
    settings: Settings = field(default_factory=Settings)


class Service:
    """A server that runs from `start` to `stop`, or for a `with` block.

    Args:
        load: Makes the Pointer; called in the worker's thread.
        options: Where and for whom.
        close_pointer: Whether the Pointer is closed when the service stops.

    Attributes:
        dispatcher: Metrics and state.
        zmq: The ZeroMQ side, or None.
        http: The HTTP side, or None.
        started: Whether `start` was called.

    Raises:
        UsageError: An address is in use, or open to others without keys or tokens.
    """

    def __init__(
        self,
        load: Callable[[], Pointer],
        options: ServeOptions | None = None,
        *,
        close_pointer: bool = True,
    ) -> None:
        options = options or ServeOptions()
        if options.zmq is None and options.http is None:
            raise UsageError("expected an address for ZeroMQ or for HTTP, got neither")
        self.dispatcher = Dispatcher(load, options.settings, close_pointer=close_pointer)
        self.http: HttpServer | None = None
        self.zmq: ZmqServer | None = None
        self.started = False
        self._log_limit = LogLimit()
        try:
            if options.zmq is not None:
                self.zmq = ZmqServer(
                    self.dispatcher,
                    options.zmq,
                    publish=options.publish,
                    curve_dir=options.curve_dir,
                    insecure=options.insecure,
                )
            if options.http is not None:
                self.http = HttpServer(
                    self.dispatcher,
                    *options.http,
                    options=HttpOptions(
                        tokens=options.tokens,
                        image_hosts=options.image_hosts,
                        inner_hosts=options.inner_hosts,
                        allow_hosts=options.allow_hosts,
                        allow_origins=options.allow_origins,
                        label_studio=options.label_studio,
                        names=options.names,
                    ),
                    insecure=options.insecure,
                )
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Open the sockets, then load the model: health and readiness are answered from the start."""
        self.started = True
        self._log_limit.__enter__()
        if self.zmq is not None:
            self.zmq.start()
        if self.http is not None:
            self.http.start()
        self.dispatcher.start()

    def stop(self) -> None:
        """Finish running requests, refuse waiting ones (clients send them to the next server), close sockets, join threads."""
        self.dispatcher.stop()
        if self.http is not None:
            self.http.stop()
        if self.zmq is not None:
            self.zmq.stop()
        self._log_limit.__exit__(None, None, None)

    def run(self, until: threading.Event) -> None:
        """Watch over a started service until the event is set.

        Raises:
            PointError: The model could not be loaded.
            ServiceError: A part of the service has died.
        """
        while not until.wait(HEALTH_POLL_S):
            failure = self.dispatcher.worker.failure
            if isinstance(failure, PointError):
                raise failure
            if failure is not None:
                raise ServiceError(f"the model could not be loaded: {failure}") from failure
            for name, part in (("ZeroMQ", self.zmq), ("HTTP", self.http)):
                if part is not None and not part.alive:
                    raise ServiceError(f"the {name} thread has died; the log says why")
            if not self.dispatcher.worker.alive:
                raise ServiceError("the worker has died; the log says why")

    def __enter__(self) -> Service:
        if not self.started:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
