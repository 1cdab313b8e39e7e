"""The floor: hand-written Starlette that does the job and nothing else. No limits, no second factor, no events.

`/me` is a signed cookie and one SQLite read by primary key, made on the event loop; `/login` is a password login with
an anti-forgery token and a stored session. `python -m benchmarks.floor FILE COUNT ROUNDS` makes its database.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qsl

import bcrypt
import jinja2
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

PASSWORD = "correct horse battery"
SCHEMA = """
CREATE TABLE user (id INTEGER PRIMARY KEY, email TEXT UNIQUE, password BLOB);
CREATE TABLE session (id TEXT PRIMARY KEY, user_id INTEGER, email TEXT, created REAL);
"""
SESSION_BY_ID = "SELECT email FROM session WHERE id = ?"
USER_BY_EMAIL = "SELECT id, password FROM user WHERE email = ?"
DAY, HOUR = 86_400, 3_600

_secret = os.environ.get("FLOOR_SECRET", "the floor's own secret, for measuring only")
_signer = URLSafeTimedSerializer(_secret, salt="session")
_csrf = URLSafeTimedSerializer(_secret, salt="csrf")
_hashing = ThreadPoolExecutor(1)
_page = jinja2.Environment(autoescape=True).from_string(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title></head><body><h1>{{ title }}</h1>
<form method="post" action="/login"><input type="hidden" name="csrf" value="{{ csrf }}">
<label>E-mail address <input name="email" type="email"></label>
<label>Password <input name="password" type="password"></label>
<button>Log in</button></form></body></html>"""
)
_database: sqlite3.Connection | None = None


def database() -> sqlite3.Connection:
    """Return the one connection, with the durability that authflow's store has."""
    global _database
    if _database is None:
        _database = connect(os.environ["FLOOR_DATABASE"])
    return _database


def connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


async def me(request: Request) -> Response:
    """Show who is logged in."""
    try:
        session_id = _signer.loads(request.cookies.get("session", ""), max_age=DAY)
    except BadSignature:
        return refused()
    row = database().execute(SESSION_BY_ID, (session_id,)).fetchone()
    return JSONResponse({"name": row[0]}) if row else refused()


async def login_page(request: Request) -> Response:
    nonce = secrets.token_urlsafe(16)
    response = HTMLResponse(_page.render(title="Log in", csrf=_csrf.dumps(nonce)))
    response.set_cookie("csrf", nonce, httponly=True, samesite="lax")
    return response


async def login(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    try:
        nonce = _csrf.loads(form.get("csrf", ""), max_age=HOUR)
    except BadSignature:
        return refused()
    if not hmac.compare_digest(nonce, request.cookies.get("csrf", "")):
        return refused()
    row = database().execute(USER_BY_EMAIL, (form["email"],)).fetchone()
    loop = asyncio.get_running_loop()
    if row is None or not await loop.run_in_executor(_hashing, bcrypt.checkpw, form["password"].encode(), row[1]):
        return refused()
    session_id = secrets.token_urlsafe(32)
    database().execute("INSERT INTO session VALUES (?, ?, ?, ?)", (session_id, row[0], form["email"], time.time()))
    response = Response(status_code=303, headers={"location": "/me"})
    response.set_cookie("session", _signer.dumps(session_id), httponly=True, samesite="lax")
    return response


def refused() -> Response:
    return JSONResponse({"error": "login"}, status_code=401)


def seed(path: str, count: int, rounds: int) -> None:
    """Make a database of accounts `user0@example.org` and so on, all with one password."""
    connection = connect(path)
    connection.executescript(SCHEMA)
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(rounds))
    connection.execute("BEGIN")
    rows = ((number, f"user{number}@example.org", stored) for number in range(count))
    connection.executemany("INSERT INTO user VALUES (?, ?, ?)", rows)
    connection.execute("COMMIT")
    connection.close()


app = Starlette(
    routes=[
        Route("/me", me),
        Route("/login", login_page, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    seed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
