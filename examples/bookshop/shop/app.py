"""The shop: three pages of its own, and authflow behind them for everything about accounts."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.templating import Jinja2Templates

from authflow.assembly import build
from authflow.errors import Unavailable
from authflow.settings import from_environment
from authflow.web.app import create_app
from authflow.web.middleware import SessionMiddleware
from shop.user import GENRES, ShopUser

BOOKS = {
    "crime": ("The Lodger in the Lighthouse", "Death of a Proofreader"),
    "poetry": ("Rain on a Tin Roof", "Small Hours"),
    "travel": ("By Rail to the Sea", "A Winter in Porto"),
}
ORDER_LIST = ("2 x Small Hours", "1 x A Winter in Porto")

# The server configures its own loggers alone; authflow's events are for whoever reads the log of the shop.
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")

whole = build(from_environment())
if not isinstance(whole.engine.user, ShopUser):
    raise SystemExit("AUTHFLOW_USER must be shop.user:ShopUser")
user: ShopUser = whole.engine.user
edge = create_app(whole, manages_lifespan=False)
pages = Jinja2Templates(Path(__file__).parent / "pages")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await whole.open()
    yield
    await whole.close()


async def front(request: Request) -> Response:
    """For everybody. Asking who is there costs a store operation only if the browser has a session cookie."""
    account = await user.get_current_user(request)
    return pages.TemplateResponse(request, "front.html", {"account": account, "books": sum(BOOKS.values(), ())})


async def shelf(request: Request) -> Response:
    """For whoever is logged in."""
    account = await user.get_current_user(request)
    if account is None:
        return RedirectResponse("/user/login?next=/shelf", 303)
    genre = str(account.profile.get("genre", ""))
    context = {"account": account, "genre": dict(GENRES).get(genre, ""), "books": BOOKS.get(genre, ())}
    return pages.TemplateResponse(request, "shelf.html", context)


async def orders(request: Request) -> Response:
    """For whoever has the right to."""
    account = await user.get_current_user(request)
    if account is None:
        return RedirectResponse("/user/login?next=/orders", 303)
    if not user.may_see_orders(account):
        raise HTTPException(403)
    return pages.TemplateResponse(request, "orders.html", {"account": account, "orders": ORDER_LIST})


async def unavailable(request: Request, error: Exception) -> Response:
    """Answer what `get_current_user` raises when the store does not answer: nobody is taken for logged out."""
    return PlainTextResponse("Please try again in a moment.", 503, {"Retry-After": "2"})


app = Starlette(
    routes=[Route("/", front), Route("/shelf", shelf), Route("/orders", orders), Mount("/", edge)],
    middleware=[Middleware(SessionMiddleware, edge=edge)],
    exception_handlers={Unavailable: unavailable},
    lifespan=lifespan,
)
