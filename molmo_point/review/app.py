"""The HTTP application of a review: the page, the rows, the images, and exports."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict
from pathlib import Path

from fastapi import FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from molmo_point.errors import ImageError, PointError, UsageError
from molmo_point.review.corrections import Correction
from molmo_point.review.export import FORMATS, export
from molmo_point.review.image import row_image
from molmo_point.review.reviewed import Review, agreement
from molmo_point.service.http.hosts import Hosts

PAGE = Path(__file__).parent / "page"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def build_app(review: Review) -> FastAPI:
    """Return the application over a run; only requests that name this machine are answered."""
    app = FastAPI(title="molmo-point review", docs_url=None, redoc_url=None, openapi_url=None)
    hosts = Hosts(loopback_only=True)

    @app.middleware("http")
    async def guard(request: Request, following):  # type: ignore[no-untyped-def]
        if not hosts.known(request.headers.get("host", "")):
            return JSONResponse({"error": "this server answers to this machine only"}, 403)
        if request.method not in ("GET", "HEAD"):
            kind = request.headers.get("content-type", "").split(";")[0]
            if kind != "application/json":
                # Pages of other sites cannot send JSON without being asked first.
                return JSONResponse({"error": "expected application/json"}, 415)
        response = await following(request)
        response.headers.update(HEADERS)
        return response

    @app.exception_handler(PointError)
    async def refuse(_: Request, error: PointError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, UsageError) else 507)

    @app.get("/api/rows")
    def rows() -> JSONResponse:
        lines = [review.line(row_id) for row_id in review.entries]
        return JSONResponse({"folder": review.folder.name, "rows": lines})

    @app.get("/api/rows/{row_id}")
    def row(row_id: str) -> JSONResponse:
        _known(review, row_id)
        return JSONResponse(review.row(row_id))

    @app.put("/api/rows/{row_id}")
    def save(row_id: str, correction: Correction) -> JSONResponse:
        _known(review, row_id)
        review.corrections.add(review.entries[row_id].key, correction)
        return JSONResponse(review.line(row_id))

    @app.get("/api/rows/{row_id}/image")
    def image(row_id: str) -> Response:
        _known(review, row_id)
        try:
            data = row_image(review.entries[row_id])
        except ImageError as error:
            raise HTTPException(404, str(error)) from error
        return Response(data, media_type="image/jpeg")

    @app.get("/api/agreement")
    def agree() -> JSONResponse:
        return JSONResponse(asdict(agreement(review)))

    @app.get("/api/export/{format_name}")
    def exported(format_name: str) -> Response:
        if format_name not in FORMATS:
            raise HTTPException(404, f"expected a format of {', '.join(FORMATS)}")
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in export(review, format_name).items():
                archive.writestr(name, content)
        disposition = f'attachment; filename="{format_name}.zip"'
        return Response(
            data.getvalue(),
            media_type="application/zip",
            headers={"Content-Disposition": disposition},
        )

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _known(review: Review, row_id: str) -> None:
    if row_id not in review.entries:
        raise HTTPException(404, "there is no such row: reload the page")
