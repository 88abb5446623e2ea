"""The HTTP application: routes, refusals, health, metrics and the page, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as HttpRequest
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from molmo_point.arguments import check_texts
from molmo_point.checkpoints.catalog import NANO_FOLDER
from molmo_point.errors import PointError, UsageError
from molmo_point.service.dispatcher import Dispatcher
from molmo_point.service.http.access import AccessMiddleware, check_token
from molmo_point.service.http.arrivals import Arrivals
from molmo_point.service.http.errors import body_response, error_response
from molmo_point.service.http.fetch import Fetcher
from molmo_point.service.http.hosts import Hosts, checked_host, checked_origin
from molmo_point.service.http.label_studio import label_studio_router
from molmo_point.service.http.model_names import ModelNames
from molmo_point.service.http.moondream import moondream_router
from molmo_point.service.http.openai import openai_router
from molmo_point.service.http.roboml import roboml_router
from molmo_point.service.http.routes import points_router
from molmo_point.service.http.submit import HttpSubmitter
from molmo_point.version import __version__
from molmo_point.wire import ErrorBody

PAGE = Path(__file__).parent / "page"

ALLOWED_HEADERS = [
    "Authorization",
    "Content-Type",
    "X-Client-Id",
    "X-Moondream-Auth",
    "X-Request-Id",
]
"""Of requests from the pages of allowed origins."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class HttpOptions:
    """How the HTTP side is run.

    Attributes:
        tokens: Who may ask; empty for everybody who can reach it.
        image_hosts: Hosts that images may be fetched from.
        inner_hosts: Allow those hosts to be inside this network.
        loopback_only: Answer only requests that name this machine as their host.
        allow_hosts: Further host names that requests may name, for a server behind a proxy; "*.example.com" for all below one.
            Where some are given, no other is answered, however the server is bound.
        allow_origins: Origins (https://app.example.com) whose web pages may ask, too. By default only this server's own page.
        label_studio: Address of the Label Studio whose backend this server is, or None.
        names: Under which OpenAI's clients ask for the model, and in which dialect they are answered.
    """

    tokens: Sequence[str] = ()
    image_hosts: Sequence[str] = ()
    inner_hosts: bool = False
    loopback_only: bool = True
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    label_studio: str | None = None
    names: ModelNames = field(default_factory=ModelNames)

    def __post_init__(self) -> None:
        for name in ("tokens", "image_hosts", "allow_hosts", "allow_origins"):
            check_texts(getattr(self, name), name)
        for token in self.tokens:
            check_token(token)
        for host in (*self.image_hosts, *self.allow_hosts):
            checked_host(host)
        for origin in self.allow_origins:
            checked_origin(origin)


def build_app(
    dispatcher: Dispatcher, options: HttpOptions | None = None, arrivals: Arrivals | None = None
) -> FastAPI:
    """Return the application over a dispatcher.

    Args:
        dispatcher: Where the requests go.
        options: For whom.
        arrivals: By which the caller has bodies refused that are still being received.
    """
    options = options or HttpOptions()
    settings = dispatcher.settings
    origins = [checked_origin(origin) for origin in options.allow_origins]
    app = FastAPI(
        title="molmo-point",
        version=__version__,
        description="An image and a few words in, points with scores and covariances out. Coordinates are 0-1 of the upright "
        "image, origin top left, x right, y down.",
        # The documentation page would load its scripts from another host; the description itself stays at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    app.state.dispatcher = dispatcher
    app.state.limiters = {}
    submitter = HttpSubmitter(dispatcher)
    fetcher = Fetcher(
        options.image_hosts, max_bytes=settings.max_message_bytes, inner=options.inner_hosts
    )
    # Not include_router: a router within a router has its routes compared twice for every request.
    routers = (
        points_router(submitter, fetcher),
        moondream_router(submitter, fetcher),
        openai_router(submitter, fetcher, options.names),
        roboml_router(submitter, fetcher),
        *_label_studio(submitter, fetcher, options.label_studio),
    )
    for router in routers:
        app.router.routes.extend(router.routes)
    _add_health(app, dispatcher)
    _add_page(app)
    app.add_exception_handler(PointError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_path)
    app.add_exception_handler(RequestValidationError, _refuse_fields)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(
        AccessMiddleware,
        tokens=options.tokens,
        # An image in base64 is a third larger than in the limit that counts for everybody.
        max_body=settings.max_message_bytes * 3 // 2,
        max_bodies=settings.max_queue_bytes,
        hosts=Hosts(options.allow_hosts, loopback_only=options.loopback_only),
        origins=origins,
        arrivals=arrivals or Arrivals(),
    )
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=["X-Request-Id", "Retry-After"],
        )
    return app


def _label_studio(
    submitter: HttpSubmitter, fetcher: Fetcher, url: str | None
) -> tuple[APIRouter, ...]:
    return () if url is None else (label_studio_router(submitter, fetcher, url),)


def _add_health(app: FastAPI, dispatcher: Dispatcher) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", tags=["health"], summary="Whether the server lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get(
        "/readyz",
        tags=["health"],
        summary="Whether questions are answered now",
        responses={503: {"description": "Not now; state says why."}},
    )
    async def readyz() -> JSONResponse:
        ready, state = dispatcher.worker.state()
        return JSONResponse({"ready": ready, "state": state}, 200 if ready else 503)

    @app.get(
        "/metrics",
        tags=["health"],
        summary="Counters for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        return Response(
            dispatcher.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=PAGE_HEADERS)

    # The image and the query that the page offers to begin with.
    for name in ("png", "json"):
        path = NANO_FOLDER / f"demo.{name}"
        app.get(f"/page/example.{name}", include_in_schema=False)(_file(path))
    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _file(path: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def file() -> FileResponse:
        return FileResponse(path)

    return file


async def _refuse(request: HttpRequest, error: Exception) -> Response:
    if not isinstance(error, PointError):
        raise error
    request.app.state.dispatcher.metrics.refused("http", error)
    return error_response(error)


async def _refuse_path(request: HttpRequest, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    body = ErrorBody(
        kind="usage",
        message=f"{request.method} {request.url.path[:200]}: {detail}",
        advice="see /openapi.json for what there is",
    )
    response = body_response(body, status)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


async def _refuse_fields(request: HttpRequest, error: Exception) -> Response:
    details = error.errors() if isinstance(error, RequestValidationError) else []
    first = details[0] if details else {"loc": (), "msg": "not valid"}
    place = ".".join(str(part) for part in first["loc"])
    return error_response(UsageError(f"{place}: {first['msg']}"))


async def _failed(request: HttpRequest, error: Exception) -> Response:
    # Starlette logs the traceback; the caller only learns that it happened.
    body = ErrorBody(
        kind="service",
        message=f"the server failed ({type(error).__name__}); its log has the details",
        advice="report it to the operator of the server",
    )
    return body_response(body, 500)
