"""`molmo_point.serve`: one's own Pointer, or a model's name, behind ZeroMQ and HTTP."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from molmo_point import api
from molmo_point.defaults import HTTP_ADDRESS, ZMQ_ADDRESS
from molmo_point.errors import UsageError
from molmo_point.pointer import Pointer
from molmo_point.service.bind_check import host_port, next_port
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.own_pointer import complete
from molmo_point.service.run import ServeOptions, Service
from molmo_point.service.settings import Settings


def serve(
    pointer: object,
    *,
    zmq: str | None = ZMQ_ADDRESS,
    publish: str | None = None,
    http: str | None = HTTP_ADDRESS,
    curve_dir: str | Path | None = None,
    tokens: Sequence[str] = (),
    image_hosts: Sequence[str] = (),
    inner_hosts: bool = False,
    allow_hosts: Sequence[str] = (),
    allow_origins: Sequence[str] = (),
    label_studio: str | None = None,
    strict_model: bool = False,
    aliases: Sequence[str] = (),
    dialect: str = "molmo",
    insecure: bool = False,
    block: bool = True,
    **limits: Any,
) -> Service:
    """Serve a Pointer until SIGINT or SIGTERM; with `block=False` in the background, as a context manager.

    >>> mp.serve(MyPointer())                                                    # blocks
    >>> with mp.serve(MyPointer(), block=False) as server: ...                   # server.zmq.address, server.http.url

    Args:
        pointer: An object with `point`, and of the other methods of a `Pointer` any; or a class or function that makes one, run
            in the thread that will use it; or a model's name or folder, as in `load`. All its methods are called from one thread.
            An object is not closed at the end; what was made here is.
        zmq: tcp://HOST:PORT for questions over ZeroMQ; port * takes a free one. None or "off" for no ZeroMQ.
        publish: The same for published answers; by default the port after that of `zmq`. "off" for none.
        http: HOST:PORT for HTTP and the web page; port 0 takes a free one. None or "off" for no HTTP.
        curve_dir: Folder of keys for ZeroMQ (`molmo-point keys new`).
        tokens: For HTTP.
        image_hosts, inner_hosts: Hosts that images may be fetched from; whether those may be inside this network.
        allow_hosts, allow_origins: Names under which a proxy passes requests on; origins whose web pages may ask, too.
        label_studio: Address of the Label Studio whose backend this server is.
        strict_model, aliases, dialect: Names of the model for OpenAI's clients, and how they are answered (docs/clients.md).
        insecure: Serve other machines without keys and tokens.
        block: False returns the service started: use it in a `with` block, or call `stop`.
        limits: Fields of `molmo_point.service.settings.Settings`, such as capacity and max_pixels.

    Returns:
        The service, stopped where it blocked.

    Raises:
        UsageError: An address is in use or open to others without keys or tokens, an unknown limit, or nothing that can point.
        PointError: The function that makes the Pointer failed.
    """
    zmq, http = (None if place == "off" else place for place in (zmq, http))
    options = ServeOptions(
        zmq=zmq,
        publish=None if zmq is None or publish == "off" else publish or next_port(zmq),
        http=host_port(http) if http is not None else None,
        curve_dir=Path(curve_dir) if curve_dir is not None else None,
        tokens=tokens,
        image_hosts=image_hosts,
        inner_hosts=inner_hosts,
        allow_hosts=allow_hosts,
        allow_origins=allow_origins,
        label_studio=label_studio,
        names=ModelNames(strict=strict_model, aliases=aliases, dialect=dialect),
        insecure=insecure,
        settings=_settings(limits),
    )
    load, ours = _loader(pointer, options.settings)
    service = Service(load, options, close_pointer=ours)
    begin = until_stopped if block else Service.start
    begin(service)
    return service


def _settings(limits: dict[str, Any]) -> Settings:
    unknown = set(limits) - set(Settings.__dataclass_fields__)
    if unknown:
        raise UsageError(
            f"unknown option {', '.join(sorted(unknown))}: there are also {', '.join(Settings.__dataclass_fields__)}"
        )
    capacity = limits.get("capacity")
    if isinstance(capacity, int) and capacity > 0:
        limits = {"max_batch": min(Settings.max_batch, capacity), **limits}
    return Settings(**limits)


def _loader(pointer: object, settings: Settings) -> tuple[Callable[[], Pointer], bool]:
    """Return what makes the Pointer, and whether it is made here: one that is somebody else's is not closed at the end."""
    if isinstance(pointer, (str, Path)):
        name = pointer
        return lambda: api.load(name, max_batch=settings.max_batch), True
    if callable(pointer) and (isinstance(pointer, type) or not hasattr(pointer, "point")):
        return cast("Callable[[], Pointer]", pointer), True
    given = complete(pointer)
    return lambda: given, False


def until_stopped(
    service: Service,
    started: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
) -> None:
    """Run a service until SIGINT or SIGTERM.

    Args:
        service: Not started yet.
        started: Called when it has.
        stopping: Called when a signal has come.

    Raises:
        PointError: As `Service.run`.
    """
    stop = threading.Event()
    service.dispatcher.worker.watched = True
    with _signals(stop), service:
        started()
        service.run(stop)
        stopping()


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM set the event. Only the main thread hears signals; in others nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
