"""For an application's own pages: who is logged in, read from our cookie when it is asked for, once per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from authflow.web.app import Edge
from authflow.web.exchange import Exchange

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class SessionMiddleware:
    """Puts the session's reader into `scope["authflow"]`, where `User.get_current_user(request)` finds it.

    Plain ASGI; a request that never asks costs no store operation.

    Args:
        app: The application that is wrapped.
        edge: From `create_app`, mounted beside it.
    """

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["authflow"] = Exchange(self._edge, scope, receive)
        await self._app(scope, receive, send)
