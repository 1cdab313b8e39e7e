"""authflow inside an application of one's own: `python -m uvicorn examples.mounted:app`."""

from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from authflow.assembly import build
from authflow.settings import from_environment
from authflow.web.app import create_app
from authflow.web.middleware import SessionMiddleware

whole = build(from_environment())
edge = create_app(whole, manages_lifespan=False)


@asynccontextmanager
async def lifespan(app: Starlette):
    await whole.open()
    yield
    await whole.close()


async def home(request: Request) -> Response:
    account = await whole.engine.user.get_current_user(request)
    if account is None:
        return RedirectResponse("/user/login?next=/")
    return PlainTextResponse(f"Hello {account.name}")


app = Starlette(
    routes=[Route("/", home), Mount("/", edge)],
    middleware=[Middleware(SessionMiddleware, edge=edge)],
    lifespan=lifespan,
)
