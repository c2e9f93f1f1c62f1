"""The chat page: static files of this package, and the little JSON that tells it about the server."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from hanlin.serve import vendor
from hanlin.serve.limits import SECURITY_HEADERS

MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What a browser may ask for, by the end of its name."""

FILES = {path.name: MEDIA[path.suffix] for path in sorted(vendor.PAGE.iterdir()) if path.suffix in MEDIA}
"""Our own files of the page with their media types; nothing else in the package can be reached."""

# The formulas' fonts come from this server, as everything does.
PAGE_POLICY = SECURITY_HEADERS["Content-Security-Policy"] + "; font-src 'self'"
CHANGES = {"Cache-Control": "no-cache", "Content-Security-Policy": PAGE_POLICY}
STAYS = {"Cache-Control": "public, max-age=31536000, immutable"}
"""What came through npm stands under an address that changes with its version."""


def page_routes(settings: dict[str, Any]) -> APIRouter:
    """Routes of the page; GET /page/config answers `settings`, and under `vendor` where the libraries are (null: nowhere)."""
    router = APIRouter(include_in_schema=False)

    def add(path: str, file: Path, headers: dict[str, str]) -> None:
        content = file.read_bytes()

        async def give() -> Response:
            return Response(content, media_type=MEDIA[file.suffix], headers=headers)

        router.add_api_route(path, give, methods=["GET"])

    add("/", vendor.PAGE / "index.html", CHANGES)
    for name in FILES:
        add(f"/page/{name}", vendor.PAGE / name, CHANGES)
    libraries = f"/page/vendor/{vendor.version()}" if vendor.is_current() else None
    if libraries is not None:
        for file in sorted(vendor.FOLDER.rglob("*.*")):
            if file.suffix in MEDIA:
                add(f"{libraries}/{file.relative_to(vendor.FOLDER).as_posix()}", file, STAYS)

    @router.get("/page/config")
    async def config() -> Response:
        return JSONResponse({**settings, "vendor": libraries})

    return router
