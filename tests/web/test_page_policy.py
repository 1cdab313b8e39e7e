"""A provider's own pages may load what it declares, and no other page may."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from authflow.assembly import build
from authflow.errors import ConfigurationError
from authflow.fields import Field
from authflow.provider import Ask, PrimaryProvider, Rejected
from authflow.settings import Settings
from authflow.testing import KEY, Page, Site, make_site
from authflow.user import User
from authflow.web.app import create_app
from authflow.web.page_policy import page_policies

STRICT = "same-origin"


class Elsewhere(PrimaryProvider):
    name, label = "elsewhere", "Elsewhere"
    page_sources: ClassVar[Mapping[str, str]] = {
        "script-src": "'self' https://elsewhere.example/sdk/client",
        "style-src": "'nonce' https://elsewhere.example/sdk/style",
        "frame-src": "https://elsewhere.example/sdk/",
    }
    opens_popups = True

    def begin(self, context):
        return Ask((Field("token"),))

    async def answer(self, credential, submission, context):
        return Rejected("invalid_credentials")


class Open(User):
    authentication_providers = ("providers.user_password:UserPassword", Elsewhere)
    valid_authentication_methods = (("user_password", None), ("elsewhere", None))


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    own = tmp_path / "templates" / "elsewhere"
    own.mkdir(parents=True)
    own.joinpath("login.html").write_text(
        '{% extends "base.html" %}{% block title %}Elsewhere{% endblock %}'
        '{% block content %}{{ ui.form(form, "Go") }}<i data-nonce="{{ csp_nonce }}"></i>{% endblock %}'
    )
    return await make_site(Open(), templates=str(tmp_path / "templates"))


def policy(page: Page) -> Mapping[str, str]:
    pairs = (part.strip().partition(" ") for part in page.header("content-security-policy").split(";"))
    return {name: sources for name, _, sources in pairs}


async def test_a_providers_own_page_may_load_what_it_declares_beside_what_is_ours(site: Site) -> None:
    page = await site.person().get("/user/auth_elsewhere/login")

    found = policy(page)
    assert page.status == 200
    assert found["script-src"] == "'self' https://elsewhere.example/sdk/client"
    assert re.fullmatch(r"'self' 'nonce-[\w-]{22}' https://elsewhere.example/sdk/style", found["style-src"])
    assert found["frame-src"] == "https://elsewhere.example/sdk/"
    assert found["default-src"] == found["frame-ancestors"] == found["base-uri"] == "'none'"
    assert found["form-action"] == "'self'"


async def test_its_popups_may_answer_it_and_who_is_embedded_learns_our_origin(site: Site) -> None:
    page = await site.person().get("/user/auth_elsewhere/login")

    assert page.header("cross-origin-opener-policy") == "same-origin-allow-popups"
    assert page.header("referrer-policy") == "strict-origin-when-cross-origin"
    for name in ("content-security-policy", "cross-origin-opener-policy", "referrer-policy", "cache-control"):
        assert [key for key, _ in page.headers].count(name) == 1


async def test_the_page_knows_its_nonce_and_each_answer_has_another(site: Site) -> None:
    pages = [await site.person().get("/user/auth_elsewhere/login") for _ in range(20)]

    nonces = {re.search(r"'nonce-([\w-]+)'", page.header("content-security-policy"))[1] for page in pages}
    assert len(nonces) == 20
    assert all(f'data-nonce="{nonce}"' in "".join(page.text for page in pages) for nonce in nonces)


async def test_the_page_keeps_its_policy_when_it_is_shown_once_more(site: Site) -> None:
    person = site.person()
    page = await person.get("/user/auth_elsewhere/login")

    refused = await person.send(page.form(), token="wrong")
    stale = await person.send(page.form(), token="wrong", skey="stale")

    assert (refused.status, stale.status) == (200, 412)
    for shown in (refused, stale):
        assert policy(shown)["script-src"] == policy(page)["script-src"]


@pytest.mark.parametrize(
    "path",
    ["/user/login", "/user/auth_userpassword/login", "/user/auth_userpassword/pwrecover", "/user/nowhere",
     "/user/logout", "/json/user/auth_elsewhere/login", "/user/static/authflow.css"],
)  # fmt: skip
async def test_no_other_answer_may_load_it(site: Site, path: str) -> None:
    page = await site.person().get(path)

    assert "elsewhere.example" not in page.header("content-security-policy")
    assert "script-src" not in policy(page)
    assert "nonce" not in page.header("content-security-policy")
    assert page.header("cross-origin-opener-policy") == STRICT
    assert page.header("referrer-policy") == STRICT


async def test_an_error_on_the_providers_path_has_the_strict_policy(site: Site) -> None:
    person = site.person()
    form = (await person.get("/user/auth_elsewhere/login")).form()

    page = await person.send(form, token="x", flow="not a flow")

    assert page.status == 412
    assert "script-src" not in policy(page)
    assert page.header("cross-origin-opener-policy") == STRICT


@pytest.mark.parametrize(
    "sources",
    [
        {"default-src": "'self'"},
        {"frame-ancestors": "https://elsewhere.example"},
        {"form-action": "https://elsewhere.example"},
        {"base-uri": "'self'"},
        {"object-src": "'self'"},
        {"script-src": "'unsafe-inline'"},
        {"script-src": "'unsafe-eval'"},
        {"script-src": "'strict-dynamic'"},
        {"script-src": "*"},
        {"script-src": "https:"},
        {"script-src": "https://*.example"},
        {"script-src": "http://elsewhere.example"},
        {"script-src": "data:"},
        {"script-src": "https://elsewhere.example; form-action *"},
        {"script-src": "https://elsewhere.example\r\nset-cookie: a=b"},
        {"script-src; form-action": "https://elsewhere.example"},
    ],
    ids=str,
)
def test_what_would_open_more_than_a_source_is_refused_when_the_app_is_built(sources: Mapping[str, str]) -> None:
    class Greedy(Elsewhere):
        name = "greedy"
        page_sources = sources

    class Careless(Open):
        authentication_providers = ("providers.user_password:UserPassword", Greedy)
        valid_authentication_methods = (("user_password", None), ("greedy", None))

    app = build(Settings(store="memory:", secret_keys=(KEY,)), user=Careless())

    with pytest.raises(ConfigurationError, match="page_sources"):
        create_app(app)


def test_a_provider_that_declares_nothing_has_no_policy_of_its_own() -> None:
    class Plain(Elsewhere):
        page_sources: ClassVar[Mapping[str, str]] = {}
        opens_popups = False

    assert page_policies((Plain(),)) == {}


async def test_static_files_are_those_of_the_package_and_no_others(site: Site) -> None:
    person = site.person()
    for name in ("", "..%2fapp.py", "../app.py", "%2e%2e/app.py", "authflow.css/", "app.py", "authflow.css%00", ".css"):
        assert (await person.get(f"/user/static/{name}")).status == 404

    css = await person.get("/user/static/authflow.css")
    assert (css.status, css.header("content-type")) == (200, "text/css; charset=utf-8")
    assert css.header("cache-control") == "public, max-age=3600"
    assert (await person.post("/user/static/authflow.css")).status == 405
