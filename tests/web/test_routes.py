"""Every route, every method, everybody: what the table promises is what happens, and nothing malformed breaks it."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

import pytest

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.seam import Call
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from authflow.web.csrf import binding_of
from authflow.web.routes import Assurance, Route, table
from providers.user_password import UserPassword

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
PREFIXES = ("", "/json", "/admin", "/vi")
BOB = "bob@example.org"
SECURE = "https://login.example.org"

HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=()",
    "referrer-policy": "",
    "cache-control": "no-store",
    "vary": "Cookie",
    "content-length": "",
}


class Registering(UserPassword):
    registration_enabled = True


class Open(User):
    authentication_providers = (Registering,)


def concrete(path: str) -> str:
    return path.replace("/*", "/someone")


def check_headers(page: Page, *, is_secure: bool = False) -> None:
    """Check what every answer carries, once each."""
    names = Counter(name for name, _ in page.headers)
    for name, part in HEADERS.items():
        assert names[name] == 1, (name, page.status)
        assert part in page.header(name)
    assert "object-src 'none'" in page.header("content-security-policy")
    assert "base-uri 'none'" in page.header("content-security-policy")
    assert page.header("referrer-policy") in ("same-origin", "no-referrer")
    assert ("strict-transport-security" in names) is is_secure
    assert "server" not in names
    assert "access-control-allow-origin" not in names
    for name, cookie in page.set_cookies.items():
        flags = [flag.strip().lower() for flag in cookie.split(";")[1:]]
        assert "httponly" in flags
        assert "samesite=lax" in flags
        assert "path=/" in flags
        assert not any(flag.startswith("domain") for flag in flags)
        assert ("secure" in flags) is is_secure
        assert name.startswith("__Host-" if is_secure else "authflow_")
        assert len(cookie.partition(";")[0]) < 4096


@dataclass
class Cast:
    """Three people in front of one site."""

    site: Site
    anonymous: Person
    pending: Person
    logged_in: Person

    @property
    def people(self) -> dict[str, Person]:
        return {"anonymous": self.anonymous, "pending": self.pending, "logged in": self.logged_in}

    def rows(self, *without: str) -> dict:
        return {key: row for key, row in self.site.kit.memory._rows.items() if key.kind not in without}

    def routes(self) -> list[tuple[str, Route]]:
        return [
            (prefix + concrete(path), route) for prefix in PREFIXES for path, route in self.site.edge.routes.items()
        ]


async def make_cast(**more) -> Cast:
    site = await make_site(Open(), **more)
    await site.account(BOB)
    await site.account_with_totp(ADA)
    pending, _ = await site.pending(ADA)
    return Cast(site, site.person(), pending, await site.logged_in(BOB))


@pytest.fixture
async def cast() -> Cast:
    return await make_cast()


# --- The table --------------------------------------------------------------------------------------------------------


async def test_every_route_says_what_it_needs(cast: Cast) -> None:
    assert len(cast.site.edge.routes) > 20
    assert all(isinstance(route.needs, Assurance) for route in cast.site.edge.routes.values())


async def test_every_post_needs_an_skey_unless_it_carries_a_token_of_its_own(cast: Cast) -> None:
    without = {path for path, route in cast.site.edge.routes.items() if route.post and not route.needs_skey}

    assert without == {"/user/auth_userpassword/verify"}


def test_a_route_that_is_declared_twice_or_answers_nothing_refuses_to_start() -> None:
    async def handler(x):
        raise NotImplementedError

    once = Route("/a", Assurance.ANYBODY, get=handler)

    with pytest.raises(ConfigurationError):
        table([once, once])
    with pytest.raises(ConfigurationError):
        table([Route("/b", Assurance.ANYBODY)])


# --- Every route, every method, everybody -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_no_route_fails_and_every_answer_is_secured(cast: Cast, method: str) -> None:
    for who, person in cast.people.items():
        for path, route in cast.routes():
            page = await person.request(method, path)

            assert page.status < 500, (who, path)
            check_headers(page)
            if method not in route.methods:
                assert page.status == 405, (who, path)
                assert page.header("allow") == ", ".join(route.methods)
            if method == "HEAD":
                assert page.body == b""


@pytest.mark.parametrize("method", METHODS)
async def test_behind_https_cookies_are_bound_to_the_host_and_the_transport(method: str) -> None:
    cast = await make_cast(base_url=SECURE)

    for person in cast.people.values():
        for path, _ in cast.routes():
            check_headers(await person.request(method, path), is_secure=True)


async def test_answers_to_faults_are_secured_too() -> None:
    class Fault:
        is_on = False

        async def before(self, call: Call) -> None:
            if self.is_on and call.kind == "store":
                raise StoreUnavailable("down")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    fault = Fault()
    cast = await make_cast(observers=(fault,))
    fault.is_on = True

    found = Counter()
    for path, route in cast.routes():
        for method in route.methods:
            page = await cast.logged_in.request(method, path)
            check_headers(page)
            found[page.status] += 1
            if page.status >= 500:
                assert page.status == 503
                assert page.header("retry-after")

    assert found[503] > 20


async def test_what_no_route_answers_is_secured_too(cast: Cast) -> None:
    for path in ("/nothing", "/json/nothing", "/user/nothing", "/user/view/", "/favicon.ico", "/_tasks/x", "/healthz"):
        for method in METHODS:
            page = await cast.logged_in.request(method, path)

            assert page.status in (200, 404, 405)
            check_headers(page)


async def test_only_the_stylesheet_may_be_kept_by_a_cache(cast: Cast) -> None:
    page = await cast.anonymous.get("/user/static/authflow.css")

    assert page.status == 200
    assert page.header("cache-control") == "public, max-age=3600"
    assert page.header("content-type").startswith("text/css")
    assert not page.set_cookies


# --- Who may do what --------------------------------------------------------------------------------------------------


async def test_a_get_writes_nothing_but_a_choice_into_its_own_session(cast: Cast) -> None:
    for who, person in cast.people.items():
        for path, route in cast.routes():
            if route.get is None:
                continue
            before = cast.rows()
            for method in ("GET", "HEAD"):
                await person.request(method, path)
            changed = {key.kind for key, row in cast.rows().items() if before.get(key) != row}
            assert set(before) == set(cast.rows()), (who, path)
            assert changed <= ({"session"} if path.endswith("/start") and who == "pending" else set()), (who, path)


@pytest.mark.parametrize("values", [{}, {"skey": ""}, {"skey": "x.y.z"}, {"skey": "staticSessionKey"}])
async def test_a_post_without_a_good_skey_is_refused_and_changes_nothing(cast: Cast, values: dict[str, str]) -> None:
    typed = {"name": BOB, "password": PASSWORD, "otptoken": "123456", "provider": "time_based_otp", "firstname": "X"}
    before = cast.rows()

    for who, person in cast.people.items():
        for path, route in cast.routes():
            if route.post is None:
                continue
            for more in ({}, typed):
                page = await person.post(path, {**more, **values})
                if path.startswith("/vi/") and route.is_form and not {**more, **values}:
                    # ViUR's tools ask for a form by a POST that brings nothing, and nothing is done.
                    assert page.status in (200, 401, 403, 404, 412), (who, path, page.text)
                    continue
                assert page.status == 412, (who, path, page.text)

    assert cast.rows() == before


async def test_a_post_with_the_skey_of_another_browser_is_refused_and_changes_nothing(cast: Cast) -> None:
    foreign = {name: await person.skey() for name, person in cast.people.items()}
    before = cast.rows()

    for who, person in cast.people.items():
        for path, route in cast.routes():
            if route.post is None:
                continue
            for owner, skey in foreign.items():
                if owner != who:
                    page = await person.post(path, {"skey": skey, "name": BOB, "password": PASSWORD})
                    assert page.status == 412, (who, owner, path)

    assert cast.rows() == before


@pytest.mark.parametrize("who", ["anonymous", "pending"])
async def test_what_needs_a_session_is_closed_without_one(cast: Cast, who: str) -> None:
    person, before = cast.people[who], cast.rows()

    for path, route in cast.routes():
        if route.needs not in (Assurance.SESSION, Assurance.FRESH):
            continue
        is_program = path.startswith(PREFIXES[1:])
        for method in ("GET", "HEAD") if route.get else ():
            page = await person.request(method, path)
            if is_program:
                assert page.status == 401, path
            else:
                assert page.status == 303, path
                assert page.location.startswith("/user/login"), path
        if route.post:
            page = await person.post(path, {"skey": await person.skey()})
            assert page.status == 401, path

    assert cast.rows() == before


async def test_what_needs_a_fresh_login_is_closed_to_an_older_one(cast: Cast) -> None:
    person = cast.logged_in
    cast.site.clock.pass_by(timedelta(minutes=11))
    await person.get("/user/view/self")
    before = cast.rows()

    fresh = [(path, route) for path, route in cast.routes() if route.needs is Assurance.FRESH]
    for path, route in fresh:
        for method in route.methods:
            values = {"skey": await person.skey()}
            page = await (person.post(path, values) if method == "POST" else person.request(method, path))
            if path.startswith(PREFIXES[1:]):
                assert page.status == 403, path
            else:
                assert page.status == 303, path
                assert page.location.startswith("/user/login?reauthenticate=1"), path

    assert len(fresh) >= 4 * 3
    assert cast.rows() == before


@pytest.mark.parametrize("who", ["anonymous", "logged in"])
async def test_what_needs_a_pending_login_is_closed_without_one(cast: Cast, who: str) -> None:
    person, before = cast.people[who], cast.rows()

    for path, route in cast.routes():
        if route.needs is not Assurance.PENDING or path.endswith("/cancel"):
            continue
        if route.get:
            assert (await person.get(path)).status == 412, path
        if route.post:
            values = {"skey": await person.skey(), "otptoken": "123456", "provider": "time_based_otp"}
            assert (await person.post(path, values)).status == 412, path

    assert cast.rows() == before


async def test_what_anybody_may_see_is_there_for_everybody(cast: Cast) -> None:
    for who, person in cast.people.items():
        for path, route in cast.routes():
            if route.needs in (Assurance.ANYBODY, Assurance.TICKET) and route.get:
                page = await person.get(path)
                assert page.status in (200, 303), (who, path)


async def test_a_ticket_page_takes_no_empty_ticket(cast: Cast) -> None:
    before = cast.rows()

    for person in cast.people.values():
        for path, route in cast.routes():
            if route.needs is Assurance.TICKET and route.post:
                page = await person.post(path, {"skey": await person.skey(), "password": "another long password"})
                assert page.status == 412, path

    assert cast.rows() == before


# --- Paths that look like others --------------------------------------------------------------------------------------


def variants(path: str) -> list[str]:
    """Return addresses that a careless router takes for this one."""
    head, _, tail = path.rpartition("/")
    return [
        path + "/",
        path + "//",
        "/" + path,
        head + "//" + tail,
        path + "/.",
        path + "/..",
        path + "/../" + tail,
        head + "/./" + tail,
        head + "/x/../" + tail,
        "/.." + path,
        path.upper(),
        path + ".json",
        path + ";x=1",
        path + "%00",
        path + "%20",
        path + "%0a",
        path + "%09",
        path.replace("/", "\\"),
        path.replace("/", "%5c"),
        path + "%3fx",
        path + "%23",
        head + "/%2e/" + tail,
        head + "/x%2f..%2f" + tail,
        path.replace("e", "%ef%bd%85"),
        "/json" + path if path.startswith("/json") else "/jsonx" + path,
        "/html" + path,
        "/vi/../json" + path,
        "/JSON" + path,
        path + "/self",
    ]


async def test_no_other_spelling_of_a_path_is_answered_by_its_handler(cast: Cast) -> None:
    canonical = {path for path, _ in cast.routes()}
    canonical.add("/json/json/user/logout")  # Where `viur-scriptor-api` posts its log-out to.
    with_key = [path.removesuffix("*") for path in cast.site.edge.routes if path.endswith("/*")]
    taken = tuple(prefix + path for prefix in PREFIXES for path in with_key)

    for path, route in cast.routes():
        if path.rstrip("/") in ("", "/json", "/admin"):
            continue
        for variant in variants(path):
            for who, person in cast.people.items():
                page = await person.get(variant)
                check_headers(page)
                if variant in canonical:
                    continue
                if variant.startswith(taken) and page.status == 405:
                    assert "/trigger/kick/" in variant
                    continue
                if variant.startswith(taken) and page.status != 404:
                    # An entry's key, whatever it is: closed to those who are not logged in.
                    assert who != "logged in", (variant, page.status)
                    assert page.status in (303, 401), (variant, page.status)
                    continue
                assert page.status == 404, (who, variant, page.status)
        if route.post:
            page = await cast.logged_in.post(path + "/", {"skey": await cast.logged_in.skey()})
            assert page.status == 404, path


@pytest.mark.parametrize("path", ["/user/view/self", "/user/edit/self", "/user/logout", "/json/user/view/self"])
async def test_an_encoded_path_meets_the_same_guard(cast: Cast, path: str) -> None:
    encoded = "/" + "".join(f"%{ord(letter):02x}" for letter in path[1:])

    assert (await cast.logged_in.get(encoded)).status == 200
    assert (await cast.anonymous.get(encoded)).status == (401 if path.startswith("/json") else 303)


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_no_header_and_no_field_makes_another_method_of_a_request(cast: Cast, header: str) -> None:
    before = cast.rows()

    as_post = await cast.logged_in.get("/user/logout?_method=POST", headers={header: "POST"})
    skey = await cast.logged_in.skey()
    as_get = await cast.logged_in.post("/user/view/self", {"_method": "GET", "skey": skey}, headers={header: "GET"})

    assert as_post.status == 200
    assert as_get.status == 405
    assert cast.rows() == before


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Script-Name"])
async def test_no_header_sends_a_request_to_another_path(cast: Cast, header: str) -> None:
    page = await cast.logged_in.get("/nothing", headers={header: "/user/view/self"})

    assert page.status == 404
    assert BOB not in page.text.partition("<main>")[2]


async def test_below_a_mount_point_all_addresses_begin_with_it(cast: Cast) -> None:
    sent = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/accounts/user/login",
        "root_path": "/accounts",
        "query_string": b"",
        "headers": [],
        "client": ("192.0.2.1", 1),
    }
    await cast.site.edge(scope, receive, send)

    body = sent[1]["body"].decode()
    assert sent[0]["status"] == 200
    assert 'action="/accounts/user/auth_userpassword/login"' in body
    assert 'href="/user/' not in body


# --- Requests that are malformed --------------------------------------------------------------------------------------

FUZZ = int(os.environ.get("AUTHFLOW_FUZZ", "10000"))
SEEDS = range(4)

NAMES = (
    "name", "password", "skey", "otptoken", "flow", "provider", "next", "recovery_key", "recoveryKey",
    "current_password",
    "firstname", "lastname", "version", "setup_key", "step", "state", "amount", "reauthenticate", "token", "status",
    "access", "roles", "id", "key", "@vi-admin", "@", "", "self", "return", "bounce", "g-recaptcha-response",
    "x[]", "a.b",
)  # fmt: skip
TEXTS = (
    "", " ", "0", "1", "-1", "true", "null", "None", "[]", "{}", "NaN", "1e309", "9" * 5000, "a" * 300, "a" * 17_000,
    "123456", "１２３４５６", "٣٤٥", "12 34 56", "+12345", "ada@example.org", "Ada@Example.ORG", "ada@example.org\x00",
    "ada@exаmple.org", "\u212ada@example.org", "a@b", "@", "a@", "'\"><script>", "{{7*7}}", "${7*7}", "%s%n", "../..",
    "\r\nSet-Cookie: a=b", "\u2028", "\u202e", "\ufeff", "\U0001f600",
    "s.x.y", "s.", "t.", "t.e30.x", "t." + "A" * 500, "s." + "A" * 300, "staticSessionKey", "x.y.z", "..", "1.2.3",
    "//evil.example", "/user/view/self", "time_based_otp", "someone." + "A" * 43, "correct horse battery",
)  # fmt: skip
TYPES = (
    "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8", "application/json",
    "multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=", "text/plain", "",
    "application/json; charset=utf-16", "application/x-www-form-urlencoded; charset=latin-1", "x", "a/b/c", "\xff",
)  # fmt: skip
HEADER_NAMES = (
    b"cookie", b"origin", b"sec-fetch-site", b"referer", b"user-agent", b"x-forwarded-for", b"range",
    b"content-encoding", b"transfer-encoding", b"expect", b"sec-x-viur-staticskey", b"sec-x-viur-staticsessionkey",
    b"if-none-match", b"authorization", b"x-appengine-user-ip", b"x-http-method-override", b"content-length", b"host",
)  # fmt: skip


FIELDS = {
    "login": ("name", "password"),
    "otp": ("otptoken",),
    "add": ("name", "password"),
    "resend": ("name",),
    "pwrecover": ("name", "recovery_key", "password"),
    "setup": ("setup_key", "password"),
    "verify": ("skey",),
    "change": ("current_password", "password"),
    "self": ("firstname", "lastname", "version"),
    "select_secondfactor_provider": ("provider",),
}


class Fuzzer:
    """Sends requests that are almost right, or not at all."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.paths = [prefix + concrete(path) for prefix in PREFIXES for path in site.edge.routes]
        self.posts = [
            prefix + concrete(path) for prefix in PREFIXES for path, route in site.edge.routes.items() if route.post
        ]
        self.people: list[Person] = []
        self.flows: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0

    async def new_people(self) -> None:
        """Bring in people in every state; the old ones' cookies and flows stay in use as stale ones."""
        self.site.clock.pass_by(timedelta(days=1))
        address = f"198.51.100.{self.random.randrange(256)}"
        anonymous = self.site.person(address=address)
        await anonymous.get("/user/login")
        pending, step = await self.site.pending(ADA, address=address)
        self.people = [anonymous, pending, await self.site.logged_in(BOB, address=address)]
        self.flows = [step.form("otp").values["flow"], (await anonymous.get("/user/login")).form().values["flow"]]

    async def send_one(self) -> None:
        scope, body = self.request()
        sent: list[dict] = []
        pieces = self.pieces(body)

        async def receive() -> dict:
            return pieces.pop(0) if pieces else {"type": "http.disconnect"}

        async def send(message: dict) -> None:
            sent.append(message)

        began = time.perf_counter()
        await self.site.edge(scope, receive, send)
        self.slowest = max(self.slowest, time.perf_counter() - began)
        if not sent:
            # The client was gone before its request was complete.
            self.statuses[0] += 1
            return
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        status = sent[0]["status"]
        self.statuses[status] += 1
        assert 200 <= status < 500, (status, scope, body[:500])
        for name, value in sent[0]["headers"]:
            assert b"\n" not in value, (name, value)
            assert b"\r" not in value, (name, value)
            if name == b"location":
                assert value.startswith(b"/"), value
                assert not value.startswith((b"//", b"/\\")), value

    # --- What is sent ---

    def request(self) -> tuple[dict, bytes]:
        r = self.random
        method = r.choices(
            ("POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "get", "X" * 50), (60, 25, 3, 3, 3, 3, 2, 1)
        )[0]
        path = r.choice(self.posts if method == "POST" and r.random() < 0.9 else self.paths)
        if r.random() < 0.06:
            path = self.mutated(path)
        person = r.choice(self.people)
        if method == "POST" and person is self.people[1] and r.random() < 0.3:
            path = r.choice(PREFIXES) + "/user/f2_timebasedotp/otp"
        headers = [(b"host", b"127.0.0.1:8000")]
        cookies = dict(person.cookies)
        if r.random() < 0.08 and cookies:
            name = r.choice(list(cookies))
            cookies[name] = self.mutated(cookies[name])
        raw = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if r.random() < 0.03:
            raw = self.mutated(raw)
        headers.append((b"cookie", raw.encode("utf-8", "replace")))
        values = self.values(person)
        fields = FIELDS.get(path.rpartition("/")[2], ())
        if r.random() < 0.6:
            # What the form asks for, so that it is judged; the values are odd all the same.
            values = [(name, self.likely(name)) for name in fields if r.random() < 0.95]
            values += [("skey", self.skey(person))] if "skey" not in fields else []
            values += [("flow", r.choice(self.flows))] if r.random() < 0.4 else []
        query = self.urlencoded(self.values(person)) if r.random() < 0.06 else b""
        content_type, body = b"", b""
        if method not in ("GET", "HEAD"):
            content_type, body = self.body(values)
            headers.append((b"content-type", content_type))
        for _ in range(r.choices((0, 1, 3), (85, 10, 5))[0]):
            headers.append((r.choice(HEADER_NAMES), self.junk().encode("utf-8", "replace")[:20_000]))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": r.choice(
                ((f"203.0.113.{r.randrange(256)}", 1), (f"2001:db8:{r.randrange(9999)}::1", 1), None, ("", 0))
            ),
            "server": ("127.0.0.1", 8000),
        }
        return scope, body

    def values(self, person: Person) -> list[tuple[str, str]]:
        r = self.random
        values = [(r.choice(NAMES), self.junk()) for _ in range(r.choices((0, 1, 2, 4, 120), (15, 30, 35, 19, 1))[0])]
        if r.random() < 0.75:
            values = [(name, value) for name, value in values if name != "skey"]
            values.append(("skey", self.skey(person)))
        if r.random() < 0.3:
            values = [(name, value) for name, value in values if name != "flow"]
            values.append(("flow", r.choice(self.flows)))
        if r.random() < 0.93:
            values = list(dict(values).items())
        r.shuffle(values)
        return values

    def skey(self, person: Person) -> str:
        scope = {"headers": [(b"cookie", "; ".join(f"{k}={v}" for k, v in person.cookies.items()).encode())]}
        edge = self.site.edge
        return edge.skeys.issue(binding_of(edge.jar.read(scope)) or "browser:", self.site.clock())

    def likely(self, name: str) -> str:
        """Return what somebody might type here, or junk."""
        r = self.random
        if r.random() < 0.3:
            return self.junk()
        if name == "name":
            return r.choice((ADA, BOB, f"somebody{r.randrange(99)}@example.org"))
        if name == "otptoken":
            return r.choice(("000000", "1234567", f"{r.randrange(10**6):06}"))
        if name in ("recovery_key", "setup_key", "skey"):
            return r.choice(("someone." + "A" * 43, "x", self.mutated("someone." + "A" * 43)))
        return r.choice((PASSWORD, "wrong", "another long password", "1"))

    def junk(self) -> str:
        r = self.random
        kind = r.random()
        if kind < 0.7:
            return r.choice(TEXTS)
        if kind < 0.85:
            return self.mutated(r.choice(TEXTS)[:200])
        return "".join(
            chr(r.choice((r.randrange(32), r.randrange(32, 127), r.randrange(0x100, 0xD7FF)))) for _ in range(8)
        )

    def mutated(self, text: str) -> str:
        r = self.random
        letters = list(text)
        for _ in range(r.randrange(1, 4)):
            at = r.randrange(len(letters) + 1)
            match r.randrange(4):
                case 0:
                    letters[at:at] = r.choice(("/", "\x00", "%", "é", ".", "~", " ", "=", ";", "\\", "\n", "A"))
                case 1:
                    del letters[at : at + r.randrange(1, 4)]
                case 2:
                    letters[at:at] = letters[at : at + 8]
                case 3 if at < len(letters):
                    letters[at] = chr(r.randrange(1, 0x180))
        return "".join(letters)

    def urlencoded(self, values: list[tuple[str, str]]) -> bytes:
        raw = "&".join(f"{quote(name)}={quote(value)}" for name, value in values).encode()
        return self.broken(raw)

    def body(self, values: list[tuple[str, str]]) -> tuple[bytes, bytes]:
        r = self.random
        kind = r.random()
        if kind < 0.6:
            content_type, raw = TYPES[0], "&".join(f"{quote(n)}={quote(v)}" for n, v in values).encode()
        elif kind < 0.78:
            content_type, raw = "application/json", self.document(values)
        elif kind < 0.92:
            content_type, raw = "multipart/form-data; boundary=x", self.multipart(values)
        else:
            content_type = r.choice(TYPES)
            raw = r.choice((self.document(values), self.multipart(values), bytes(r.randrange(256) for _ in range(50))))
        if r.random() < 0.03:
            content_type = self.mutated(content_type)
        return content_type.encode("utf-8"), self.broken(raw)

    def document(self, values: list[tuple[str, str]]) -> bytes:
        r = self.random
        odd = (None, True, 1, 1.5, [], {}, {"$ne": ""}, ["a"], "\ud800", 10**30)
        match r.randrange(8):
            case 0:
                return r.choice((b"[" * 5000, b"[]", b'"x"', b"1", b"", b"{", b"NaN", b'{"a":NaN}', b'{"a":' * 3000))
            case 1:
                return ("{" + ",".join(f'"{r.choice(NAMES)}":{json.dumps(v)}' for _, v in values) + "}").encode()
            case 2:
                return json.dumps({name: r.choice((value, *odd)) for name, value in values}).encode()
        return json.dumps(dict(values)).encode()

    def multipart(self, values: list[tuple[str, str]]) -> bytes:
        r, parts = self.random, []
        for name, value in values:
            more = r.choices(("", '; filename="x"', "\r\nContent-Type: image/png", "\r\nX: y"), (90, 4, 3, 3))[0]
            head = f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
            parts.append(head + value + "\r\n")
        return ("".join(parts) + r.choices(("--x--\r\n", "--x", ""), (90, 5, 5))[0]).encode("utf-8", "replace")

    def broken(self, raw: bytes) -> bytes:
        r = self.random
        if r.random() > 0.12:
            return raw
        data = bytearray(raw)
        for _ in range(r.randrange(1, 4)):
            at = r.randrange(len(data) + 1)
            match r.randrange(4):
                case 0:
                    data[at:at] = r.choice(
                        (b"%", b"%zz", b"%00", b"\xff", b"&", b"=", b"&&", b"+", b"\r\n", b"%ed%a0%80")
                    )
                case 1:
                    del data[at : at + r.randrange(1, 30)]
                case 2:
                    data[at:at] = data[max(0, at - 20) : at]
                case 3:
                    data += b"a" * r.choice((1, 100, 66_000))
        return bytes(data)

    def pieces(self, body: bytes) -> list[dict]:
        r = self.random
        if r.random() < 0.02:
            return [{"type": "http.request", "body": body[:5], "more_body": True}]
        if r.random() < 0.1 and body:
            half = len(body) // 2
            first = {"type": "http.request", "body": body[:half], "more_body": True}
            return [first, {"type": "http.request"} | {"body": body[half:]}]
        return [{"type": "http.request", "body": body, "more_body": False}]


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_malformed_is_answered_by_a_fault(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    site = await make_site(Open())
    await site.account(BOB)
    await site.account_with_totp(ADA)
    fuzzer = Fuzzer(site, seed)

    rows = dict(site.kit.memory._rows)
    caplog.set_level("INFO", "authflow")
    share = -(-FUZZ // len(SEEDS))
    judged = {"login_refused", "second_factor_refused", "recovery_requested", "ticket_refused", "account_edited"}
    for number in range(share * 12):
        # Which of the rarer judgements a seed reaches early is luck: it goes on until it has reached all of them.
        if number >= share and number % 100 == 0 and judged <= set(_events(caplog)):
            break
        if number % 100 == 0:
            # A lucky request may have changed an account; each hundred finds them as they were.
            site.kit.memory._rows = dict(rows)
            await fuzzer.new_people()
        await fuzzer.send_one()
    await site.app.engine.settle()

    loud = [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL") or record.exc_info]
    assert not loud, [(record.getMessage(), record.exc_info) for record in loud[:3]]
    assert fuzzer.slowest < 2
    # It reaches every kind of answer and judgement, so it is not the door alone that is tried.
    expected = {200, 303, 400, 401, 403, 404, 405, 412, 413, 415}
    assert expected <= set(fuzzer.statuses), fuzzer.statuses
    events = _events(caplog)
    assert judged <= set(events), events


def _events(caplog: pytest.LogCaptureFixture) -> Counter[str]:
    return Counter(json.loads(r.getMessage())["type"] for r in caplog.records if r.name == "authflow.audit")
