"""The chat page: static files of this package, and the little JSON that tells it about the server."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

# What a browser may ask for, with its media type; nothing else in the package can be reached.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def page_routes(settings: dict[str, Any]) -> APIRouter:
    """Routes of the page; `settings` is what GET /page/config answers."""
    router = APIRouter(include_in_schema=False)
    folder = files("hanlin.serve") / "page"

    def add(path: str, name: str) -> None:
        content = (folder / name).read_bytes()

        async def give() -> Response:
            return Response(content, media_type=FILES[name], headers={"Cache-Control": "no-cache"})

        router.add_api_route(path, give, methods=["GET"])

    add("/", "index.html")
    for name in FILES:
        add(f"/page/{name}", name)

    @router.get("/page/config")
    async def config() -> Response:
        return JSONResponse(settings)

    return router
