"""Calls to the task endpoint by anybody but the queue and the clock: no task runs, and the store is not even asked.

The endpoint stands open to the world. What keeps strangers out are App Engine's own headers, believed only where its
front end takes them away from outside calls, or else an identity token of the one service account.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from authflow.testing import GoogleIssuer, make_site
from authflow.testing.signing import SigningKey, base64url
from tests.tasks.calls import (
    ACCOUNT,
    BASE_URL,
    FROM_CRON,
    FROM_QUEUE,
    NAME,
    QUEUE_PATH,
    Desk,
    Headers,
    make_desk,
)

Forge: TypeAlias = Callable[[GoogleIssuer], Headers]
REFUSED = {403, 404, 405}
SWEEP = "/_tasks/sweep"


@pytest.fixture(scope="module")
def google() -> Iterator[GoogleIssuer]:
    with GoogleIssuer() as issuer:
        yield issuer


@pytest.fixture
async def on_app_engine() -> AsyncIterator[Desk]:
    desk = await make_desk()
    yield desk
    await desk.app.close()


@pytest.fixture
async def elsewhere(google: GoogleIssuer) -> AsyncIterator[Desk]:
    desk = await make_desk(on_app_engine=False, service_account=ACCOUNT, certs_url=google.certs_url)
    google.clock = desk.clock
    yield desk
    await desk.app.close()


async def refused_at_no_cost(desk: Desk, headers: Headers, body: bytes, **call: Any) -> None:
    """Make a forged call; it must be refused, ask the store nothing and run nothing."""
    answer = await desk.call(headers, body, **call)

    assert answer.status in REFUSED
    assert answer.bill.total("store") == 0
    assert answer.bill.total("tasks") == 0
    assert desk.handler.tasks == []
    if answer.status == 403:
        # Nothing of what was wrong with it.
        assert answer.json == {"status": 403, "code": "forbidden"}


def bearer(token: str) -> Headers:
    return ((b"authorization", b"Bearer " + token.encode()),)


def honest(google: GoogleIssuer, **claims: Any) -> str:
    every = {"aud": BASE_URL, "azp": "1", "sub": "1", "email": ACCOUNT, "email_verified": True, **claims}
    return google.id_token(**every)


# --- What is genuine, so that the refusals mean something -------------------------------------------------------------


async def test_on_app_engine_the_queue_and_cron_are_let_in(on_app_engine: Desk) -> None:
    body = await on_app_engine.defer()

    assert (await on_app_engine.call(FROM_QUEUE, body)).status == 200
    assert len(on_app_engine.handler.tasks) == 1
    assert (await on_app_engine.call(FROM_CRON, path=SWEEP, method="GET")).status == 200


async def test_elsewhere_the_service_account_is_let_in(elsewhere: Desk, google: GoogleIssuer) -> None:
    body = await elsewhere.defer()

    assert (await elsewhere.call(bearer(honest(google)), body)).status == 200
    assert len(elsewhere.handler.tasks) == 1
    assert (await elsewhere.call(bearer(honest(google)), path=SWEEP)).status == 200


# --- Headers of App Engine --------------------------------------------------------------------------------------------

LOOK_ALIKES = [
    b"x_appengine_queuename",
    b"x-appengine_queuename",
    b"x_appengine-queuename",
    b"x-app-engine-queuename",
    b"x-app_engine-queuename",
    b"x-appengine-queue-name",
    b"x-appengine-queue_name",
    b"x-appengine-queue",
    b"x-appengine-queuenames",
    b"x-appengine-queuenam",
    b"x-appengine--queuename",
    b"x--appengine-queuename",
    b"-x-appengine-queuename",
    b"x-appengine-queuename-",
    b"appengine-queuename",
    b"xappenginequeuename",
    b"x.appengine.queuename",
    b"x appengine queuename",
    b"x-appengine-queuename ",
    b" x-appengine-queuename",
    b"x-appengine-queuename\x00",
    b"x-appengine-queuename\t",
    b"x-appengine-queu\xc3\xa9name",
    b"x-app\xc4\xb1ngine-queuename",
    b"http_x_appengine_queuename",
    b"http-x-appengine-queuename",
    b"http_x-appengine-queuename",
    b"x-forwarded-x-appengine-queuename",
    b"x-original-x-appengine-queuename",
    b"x-google-appengine-queuename",
    b"x-google-queuename",
    b"x-google-internal-skipadmincheck",
    b"x-cloudtasks-queuename",
    b"x-cloudtasks-taskname",
    b"x-cloudtasks-taskretrycount",
    b"x-cloudscheduler",
    b"x-cloudscheduler-jobname",
    b"x-appengine-taskname",
    b"x-appengine-taskretrycount",
    b"x-appengine-taskexecutioncount",
    b"x-appengine-tasketa",
    b"x-appengine-user-ip",
    b"x-appengine-inbound-appid",
    b"x-appengine-cron",
    b"x-appengine-user-is-admin",
    b"x-appengine-https",
    b"user-agent",
    b"from",
    b"via",
    b"authorization",
]
WRONG_VALUES = [
    b"",
    b" ",
    b"Mail",
    b"MAIL",
    b" mail",
    b"mail ",
    b"mail\x00",
    b"mail\t",
    b"mail\r\n",
    b"mail,mail",
    b"mail, mail",
    b"mail;q=1",
    b'"mail"',
    b"'mail'",
    b"mai",
    b"mail2",
    b"mails",
    b"m\xc3\xa0il",
    b"\xff\xfe",
    b"ma%69l",
    b"default",
    b"__cron",
    b"__scheduler",
    b"true",
    b"*",
    b".*",
    b"/mail",
    b"queues/mail",
    QUEUE_PATH.encode(),
    b"/" + QUEUE_PATH.encode(),
    b"demo-project/europe-west1/mail",
    b"mail" * 3000,
]
DOUBLED = [
    (b"mail", b"mail"),
    (b"mail", b""),
    (b"", b"mail"),
    (b"mail", b"other"),
    (b"other", b"mail"),
    (b"mail", b"mail", b"mail"),
]


@pytest.mark.parametrize("name", LOOK_ALIKES)
async def test_a_header_that_looks_like_the_queues_is_worthless(on_app_engine: Desk, name: bytes) -> None:
    body = await on_app_engine.defer()

    await refused_at_no_cost(on_app_engine, ((name, b"mail"),), body)
    await refused_at_no_cost(on_app_engine, ((name, b"true"),), body)


@pytest.mark.parametrize("value", WRONG_VALUES)
async def test_another_queue_is_not_ours(on_app_engine: Desk, value: bytes) -> None:
    body = await on_app_engine.defer()

    await refused_at_no_cost(on_app_engine, ((b"x-appengine-queuename", value),), body)


@pytest.mark.parametrize("values", DOUBLED)
async def test_a_queue_named_twice_is_none(on_app_engine: Desk, values: tuple[bytes, ...]) -> None:
    body = await on_app_engine.defer()

    await refused_at_no_cost(on_app_engine, tuple((b"x-appengine-queuename", value) for value in values), body)


async def test_without_any_header_nobody_is_let_in(on_app_engine: Desk, elsewhere: Desk) -> None:
    for desk in (on_app_engine, elsewhere):
        await refused_at_no_cost(desk, (), await desk.defer())
        await refused_at_no_cost(desk, (), b"", path=SWEEP)
        await refused_at_no_cost(desk, (), b"", path=SWEEP, method="GET")


@pytest.mark.parametrize(
    "headers",
    [
        FROM_QUEUE,
        FROM_CRON,
        FROM_QUEUE + FROM_CRON,
        ((b"x-appengine-queuename", QUEUE_PATH.encode()),),
        (*FROM_QUEUE, (b"x-appengine-taskname", b"1"), (b"x-appengine-taskretrycount", b"0")),
        (*FROM_QUEUE, (b"x-cloudtasks-queuename", b"mail"), (b"x-cloudtasks-taskname", b"1")),
        (*FROM_QUEUE, (b"x-appengine-user-ip", b"0.1.0.2"), (b"x-forwarded-for", b"0.1.0.2")),
        (*FROM_QUEUE, (b"gae-env", b"standard"), (b"gae_env", b"standard")),
        (*FROM_QUEUE, (b"x-appengine-country", b"ZZ"), (b"x-google-real-ip", b"127.0.0.1")),
    ],
)
async def test_headers_of_app_engine_are_worthless_elsewhere(elsewhere: Desk, headers: Headers) -> None:
    body = await elsewhere.defer()

    await refused_at_no_cost(elsewhere, headers, body)
    await refused_at_no_cost(elsewhere, headers, body, path=SWEEP)
    await refused_at_no_cost(elsewhere, headers, body, path=SWEEP, method="GET")


async def test_on_app_engine_a_queue_with_a_service_account_must_bring_its_token(google: GoogleIssuer) -> None:
    desk = await make_desk(service_account=ACCOUNT, certs_url=google.certs_url)
    google.clock = desk.clock
    body = await desk.defer()

    await refused_at_no_cost(desk, FROM_QUEUE, body)
    assert (await desk.call(bearer(honest(google)), body)).status == 200
    assert (await desk.call(FROM_CRON, path=SWEEP)).status == 200


# --- The clock --------------------------------------------------------------------------------------------------------

NO_CRON: list[Headers] = [
    FROM_QUEUE,
    *(
        ((b"x-appengine-cron", value),)
        for value in (b"", b"True", b"TRUE", b"1", b"yes", b"true ", b" true", b"true,true")
    ),
    (*FROM_CRON, *FROM_CRON),
    (*FROM_CRON, (b"x-appengine-cron", b"false")),
    *(
        ((name, b"true"),)
        for name in (
            b"x_appengine_cron",
            b"x-appengine_cron",
            b"x-app-engine-cron",
            b"x-appengine-crons",
            b"x-google-cron",
            b"x-cloudscheduler",
            b"http_x_appengine_cron",
            b"x-appengine-cron\x00",
            b"x-appengine-cron ",
        )
    ),
    ((b"user-agent", b"AppEngine-Google; (+http://code.google.com/appengine)"),),
    ((b"user-agent", b"Google-Cloud-Scheduler"), (b"x-cloudscheduler", b"true")),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", NO_CRON)
async def test_who_is_not_the_clock_does_not_sweep(on_app_engine: Desk, headers: Headers, method: str) -> None:
    await on_app_engine.defer()

    await refused_at_no_cost(on_app_engine, headers, b"", path=SWEEP, method=method)


async def test_the_clock_delivers_no_tasks(on_app_engine: Desk) -> None:
    await refused_at_no_cost(on_app_engine, FROM_CRON, await on_app_engine.defer())


async def test_on_app_engine_no_token_takes_the_place_of_the_clock(on_app_engine: Desk, google: GoogleIssuer) -> None:
    google.clock = on_app_engine.clock

    await refused_at_no_cost(on_app_engine, bearer(honest(google)), b"", path=SWEEP)
    await refused_at_no_cost(on_app_engine, bearer(honest(google)), await on_app_engine.defer())


# --- Browsers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        (b"cookie", b""),
        (b"cookie", b"__Host-session=x"),
        (b"cookie", b"SACSID=an administrator of the app, whose headers App Engine leaves alone"),
        (b"cookie", b"ACSID=x"),
        (b"cookie", b"dev_appserver_login=admin:True"),
        (b"origin", b"null"),
        (b"origin", BASE_URL.encode()),
        (b"origin", b"https://evil.example"),
        (b"sec-fetch-site", b"none"),
        (b"sec-fetch-site", b"same-origin"),
        (b"sec-fetch-site", b"cross-site"),
        (b"sec-fetch-mode", b"navigate"),
        (b"sec-fetch-mode", b"cors"),
    ],
)
async def test_no_browser_is_let_in_whatever_else_it_brings(
    on_app_engine: Desk, elsewhere: Desk, google: GoogleIssuer, header: tuple[bytes, bytes]
) -> None:
    for desk, proof, clock in (
        (on_app_engine, FROM_QUEUE, FROM_CRON),
        (elsewhere, bearer(honest(google)), bearer(honest(google))),
    ):
        await refused_at_no_cost(desk, (*proof, header), await desk.defer())
        await refused_at_no_cost(desk, (header, *clock), b"", path=SWEEP, method="GET")


# --- Methods and paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post", "Post", "PROPFIND", ""]
)
async def test_a_task_comes_by_post_alone(on_app_engine: Desk, method: str) -> None:
    await refused_at_no_cost(on_app_engine, FROM_QUEUE, await on_app_engine.defer(), method=method)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"])
async def test_a_sweep_comes_by_get_or_post_alone(on_app_engine: Desk, method: str) -> None:
    await refused_at_no_cost(on_app_engine, FROM_CRON, b"", path=SWEEP, method=method)


async def test_another_method_does_not_come_in_by_a_header(on_app_engine: Desk) -> None:
    override = ((b"x-http-method-override", b"POST"), (b"x-method-override", b"POST"))

    await refused_at_no_cost(on_app_engine, (*FROM_QUEUE, *override), await on_app_engine.defer(), method="GET")


@pytest.mark.parametrize(
    "path",
    [
        "/_tasks",
        "/_tasks/",
        f"/_tasks//{NAME}",
        f"//_tasks/{NAME}",
        f"/_tasks/{NAME}/",
        f"/_tasks/{NAME}/x",
        f"/_tasks/./{NAME}",
        f"/_tasks/../_tasks/{NAME}",
        f"/user/../_tasks/{NAME}",
        f"/_tasks/{NAME.upper()}",
        f"/_tasks/{NAME.title()}",
        f"/_TASKS/{NAME}",
        f"/_tasks/{NAME} ",
        f"/_tasks/ {NAME}",
        f"/_tasks/{NAME}\n",
        f"/_tasks/{NAME}\x00",
        f"/_tasks/{NAME};x=1",
        f"/_tasks/{NAME}?x",
        f"/_tasks/{NAME}#x",
        f"/_tasks/{NAME}.json",
        "/_tasks/send%5Fnotice",
        "/_tasks/send-notice",
        "/_tasks/\uff53end_notice",
        "/_tasks/" + "a" * 65,
        f"/_tasks\\{NAME}",
        f"/json/_tasks/{NAME}",
        f"/admin/_tasks/{NAME}",
        f"/vi/_tasks/{NAME}",
        f"/user/_tasks/{NAME}",
        f"/_ah/queue/{NAME}",
        "/_ah/queue/deferred",
        "/_ah/queue/__deferred__",
        "/_tasks/sweep/",
        "/_tasks/Sweep",
    ],
)
async def test_another_spelling_of_the_path_is_another_path(on_app_engine: Desk, path: str) -> None:
    body = await on_app_engine.defer()

    await refused_at_no_cost(on_app_engine, FROM_QUEUE + FROM_CRON, body, path=path)


# --- Identity tokens --------------------------------------------------------------------------------------------------

FOREIGN = SigningKey("key-1")
"""Somebody's own key under the id of Google's."""

WRONG_CLAIMS: list[dict[str, Any]] = [
    {"aud": None},
    {"aud": ""},
    {"aud": BASE_URL + "/"},
    {"aud": f"{BASE_URL}/_tasks/{NAME}"},
    {"aud": BASE_URL.replace("https", "http")},
    {"aud": BASE_URL.upper()},
    {"aud": "login.example.org"},
    {"aud": "https://login.example.org.evil.example"},
    {"aud": "https://evil.example"},
    {"aud": [BASE_URL, "https://evil.example"]},
    {"aud": ["https://evil.example", BASE_URL]},
    {"aud": [[BASE_URL]]},
    {"aud": {"": BASE_URL}},
    {"aud": True},
    {"iss": None},
    {"iss": ""},
    {"iss": "https://accounts.google.com/"},
    {"iss": "http://accounts.google.com"},
    {"iss": "https://accounts.google.com.evil.example"},
    {"iss": "https://evil.example"},
    {"iss": ACCOUNT},
    {"iss": ["https://accounts.google.com"]},
    {"email": None},
    {"email": ""},
    {"email": ACCOUNT.upper()},
    {"email": ACCOUNT + " "},
    {"email": " " + ACCOUNT},
    {"email": ACCOUNT + "\n"},
    {"email": ACCOUNT + "\x00"},
    {"email": ACCOUNT + ".evil.example"},
    {"email": "x" + ACCOUNT},
    {"email": ACCOUNT[:-1]},
    {"email": "other@demo-project.iam.gserviceaccount.com"},
    {"email": "caller@other-project.iam.gserviceaccount.com"},
    {"email": "caller@gmail.com"},
    {"email": [ACCOUNT]},
    {"email": {"address": ACCOUNT}},
    {"email": True},
    {"email": 1},
    {"email": None, "sub": ACCOUNT, "azp": ACCOUNT},
    {"email": None, "preferred_username": ACCOUNT},
    {"email_verified": None},
    {"email_verified": False},
    {"email_verified": "true"},
    {"email_verified": "True"},
    {"email_verified": 1},
    {"email_verified": [True]},
    {"sub": None},
    {"sub": ""},
    {"sub": 1},
    {"sub": "x" * 300},
    {"azp": "somebody else's client"},
    {"azp": 1},
    {"exp": None},
    {"exp": 0},
    {"exp": "9999999999"},
    {"exp": 9_999_999_999},
    {"exp": True},
    {"iat": None},
    {"iat": 0},
    {"iat": "0"},
    {"iat": -1},
]
WRONG_HEADERS: list[dict[str, Any]] = [
    {"alg": "none"},
    {"alg": "None"},
    {"alg": "NONE"},
    {"alg": ""},
    {"alg": None},
    {"alg": "rs256"},
    {"alg": "RS384"},
    {"alg": "RS512"},
    {"alg": "PS256"},
    {"alg": "ES256"},
    {"alg": "HS256"},
    {"alg": ["RS256"]},
    {"kid": None},
    {"kid": ""},
    {"kid": "unknown"},
    {"kid": 1},
    {"kid": ["key-1"]},
    {"kid": "../../dev/null"},
    {"crit": ["exp"]},
    {"crit": []},
]


@pytest.mark.parametrize("claims", WRONG_CLAIMS, ids=str)
async def test_a_token_that_says_anything_else_is_refused(
    elsewhere: Desk, google: GoogleIssuer, claims: dict[str, Any]
) -> None:
    body = await elsewhere.defer()

    await refused_at_no_cost(elsewhere, bearer(honest(google, **claims)), body)
    await refused_at_no_cost(elsewhere, bearer(honest(google, **claims)), b"", path=SWEEP)


@pytest.mark.parametrize("header", WRONG_HEADERS, ids=str)
async def test_a_token_of_another_kind_is_refused(
    elsewhere: Desk, google: GoogleIssuer, header: dict[str, Any]
) -> None:
    claims = google.claims(aud=BASE_URL, sub="1", email=ACCOUNT, email_verified=True)

    await refused_at_no_cost(elsewhere, bearer(google.key.token(claims, header)), await elsewhere.defer())


def _claims(google: GoogleIssuer) -> dict[str, Any]:
    return google.claims(aud=BASE_URL, sub="1", email=ACCOUNT, email_verified=True)


def _by_public_key(google: GoogleIssuer) -> Headers:
    """HMAC with the published certificate as its key: what a verifier that trusts `alg` accepts."""
    parts = [{"alg": "HS256", "kid": google.key.kid}, _claims(google)]
    text = ".".join(base64url(json.dumps(part).encode()) for part in parts)
    return bearer(f"{text}.{base64url(hmac.digest(google.key.pem.encode(), text.encode(), hashlib.sha256))}")


def _unsigned(google: GoogleIssuer) -> Headers:
    return bearer(honest(google).rpartition(".")[0] + ".")


def _tampered(google: GoogleIssuer) -> Headers:
    header, _, signature = honest(google, email="other@demo-project.iam.gserviceaccount.com").split(".")
    return bearer(f"{header}.{base64url(json.dumps(_claims(google)).encode())}.{signature}")


def _twice_named(google: GoogleIssuer) -> Headers:
    claims = json.dumps(_claims(google))
    return bearer(
        google.key.token_of(
            json.dumps({"alg": "RS256", "kid": google.key.kid}).encode(),
            (claims[:-1] + ', "email": "other@example.org"}').encode(),
        )
    )


FORGERIES: dict[str, Forge] = {
    "signed by a key of one's own": lambda google: bearer(FOREIGN.token(_claims(google))),
    "own key, and where to get it": lambda google: bearer(
        FOREIGN.token(_claims(google), {"jku": "https://evil.example", "x5u": "https://evil.example"})
    ),
    "own key inside": lambda google: bearer(FOREIGN.token(_claims(google), {"jwk": {"kty": "RSA"}, "x5c": ["x"]})),
    "signed with the public key": _by_public_key,
    "no signature": _unsigned,
    "no third part": lambda google: bearer(honest(google).rpartition(".")[0]),
    "a fourth part": lambda google: bearer(honest(google) + ".x"),
    "another's claims": _tampered,
    "a claim twice": _twice_named,
    "the signature of another token": lambda google: bearer(
        honest(google).rpartition(".")[0] + "." + honest(google, sub="2").rpartition(".")[2]
    ),
    "padding": lambda google: bearer(honest(google) + "="),
    "a line break": lambda google: bearer(honest(google) + "\n"),
    "plain base64": lambda google: bearer(base64.b64encode(honest(google).encode()).decode()),
    "too long": lambda google: bearer(honest(google, filler="x" * 20_000)),
    "empty": lambda google: bearer(""),
    "a word": lambda google: bearer("null"),
    "an access token": lambda google: bearer("ya29.a0AfH6SMBx"),
    "no scheme": lambda google: ((b"authorization", honest(google).encode()),),
    "lower case": lambda google: ((b"authorization", b"bearer " + honest(google).encode()),),
    "upper case": lambda google: ((b"authorization", b"BEARER " + honest(google).encode()),),
    "two spaces": lambda google: ((b"authorization", b"Bearer  " + honest(google).encode()),),
    "a tab": lambda google: ((b"authorization", b"Bearer\t" + honest(google).encode()),),
    "a leading space": lambda google: ((b"authorization", b" Bearer " + honest(google).encode()),),
    "basic": lambda google: ((b"authorization", b"Basic " + base64.b64encode(ACCOUNT.encode() + b":x")),),
    "another scheme": lambda google: ((b"authorization", b"Token " + honest(google).encode()),),
    "quoted": lambda google: ((b"authorization", b'Bearer "' + honest(google).encode() + b'"'),),
    "a list": lambda google: ((b"authorization", b"Bearer " + honest(google).encode() + b", Bearer x"),),
    "twice": lambda google: bearer(honest(google)) * 2,
    "another one first": lambda google: bearer("x") + bearer(honest(google)),
    "another one last": lambda google: bearer(honest(google)) + bearer("x"),
    "bytes": lambda google: ((b"authorization", b"Bearer \xff\xfe"),),
    "another header": lambda google: ((b"x-authorization", b"Bearer " + honest(google).encode()),),
    "the proxy's header": lambda google: ((b"proxy-authorization", b"Bearer " + honest(google).encode()),),
    "cloud run's header": lambda google: ((b"x-serverless-authorization", b"Bearer " + honest(google).encode()),),
    "the assertion of a proxy": lambda google: ((b"x-goog-iap-jwt-assertion", honest(google).encode()),),
    "an underscore": lambda google: ((b"http_authorization", b"Bearer " + honest(google).encode()),),
}


@pytest.mark.parametrize("forgery", list(FORGERIES))
async def test_a_token_that_is_not_googles_or_not_in_its_place_is_refused(
    elsewhere: Desk, google: GoogleIssuer, forgery: str
) -> None:
    body = await elsewhere.defer()

    await refused_at_no_cost(elsewhere, FORGERIES[forgery](google), body)
    await refused_at_no_cost(elsewhere, FORGERIES[forgery](google), b"", path=SWEEP, method="GET")


async def test_a_token_does_not_come_in_by_the_query(elsewhere: Desk, google: GoogleIssuer) -> None:
    query = f"access_token={honest(google)}&id_token={honest(google)}".encode()

    await refused_at_no_cost(elsewhere, (), await elsewhere.defer(), query=query)


async def test_a_genuine_token_is_good_for_an_hour_and_no_longer(elsewhere: Desk, google: GoogleIssuer) -> None:
    token, body = honest(google), await elsewhere.defer()
    elsewhere.clock.pass_by(timedelta(hours=1))

    await refused_at_no_cost(elsewhere, bearer(token), body)


# --- Deployments without the endpoint ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"/_tasks/{NAME}", SWEEP, "/_tasks/send_recovery"])
@pytest.mark.parametrize("headers", [(), FROM_QUEUE, FROM_CRON])
async def test_where_tasks_are_carried_out_by_a_worker_there_is_no_endpoint(headers: Headers, path: str) -> None:
    site = await make_site()
    person = site.person(headers={name.decode(): value.decode() for name, value in headers})

    answer = await person.post(path)

    assert answer.status == 404
    assert answer.cost == 0
    await site.app.close()


# --- What is left behind ----------------------------------------------------------------------------------------------


async def test_a_refused_call_leaves_a_line_in_the_log_that_quotes_nothing_of_it(
    elsewhere: Desk, google: GoogleIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "authflow")
    token = honest(google, email="other@demo-project.iam.gserviceaccount.com")

    await elsewhere.call(bearer(token), b'{"id": "hunter2"}')

    (line,) = [record.getMessage() for record in caplog.records if record.name == "authflow.audit"]
    event = json.loads(line)
    assert (event["type"], event["reason"], event["client"]) == ("task_call_refused", "task_origin_account", "0.1.0.2")
    assert "hunter2" not in caplog.text
    assert "other@" not in caplog.text
    assert token not in caplog.text


async def test_a_refused_call_gets_the_security_headers_and_no_cookie(on_app_engine: Desk) -> None:
    answer = await on_app_engine.call(())

    assert answer.headers["cache-control"] == "no-store"
    assert "content-security-policy" in answer.headers
    assert "set-cookie" not in answer.headers
