"""Small things at the edge: what a 405 names, keys in queries, where events come from, starts by GET."""

from __future__ import annotations

import json

import pytest

from authflow.testing import ADA, make_site
from tests.threats.tools import Open


async def test_405_of_a_plain_path_names_what_is_allowed():
    site = await make_site()
    page = await site.person().post("/healthz")
    assert page.status == 405
    assert page.header("allow") == "GET, HEAD"


async def test_a_set_up_key_in_the_query_of_a_post_is_refused():
    site = await make_site()
    await site.account(password=None)
    key = (await site.app.administration.setup_link(ADA)).partition("=")[2]
    p = site.person()
    page = await p.post(
        f"/json/user/auth_userpassword/setup?setup_key={key}",
        {"skey": await p.skey(), "password": "another long password"},
    )
    assert page.status == 400


async def test_a_verification_key_in_the_query_of_a_post_is_refused():
    site = await make_site(Open())
    p = site.person()
    await p.send((await p.get("/user/auth_userpassword/add")).form(), name=ADA, password="another long password")
    await site.run_tasks()
    page = await p.post(site.link(), {})
    assert page.status >= 400


@pytest.mark.parametrize("type_", ["logged_out", "account_edited"])
async def test_events_say_where_from(type_, caplog):
    caplog.set_level("INFO")
    site = await make_site()
    await site.account()
    p = await site.logged_in()
    await p.json_post("/json/user/edit/self", firstname="A")
    await p.json_post("/json/user/logout")
    events = [json.loads(r.getMessage()) for r in caplog.records if r.name == "authflow.audit"]
    (e,) = [e for e in events if e["type"] == type_]
    assert e["client"]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_start_by_get_or_head_writes_nothing(method):
    from tests.threats.tools import enrol

    site = await make_site()
    await site.account()
    await enrol(site, await site.logged_in())
    person, _ = await site.pending()
    before = dict(site.kit.memory._rows)
    await person.request(method, "/user/f2_recoverycode/start", headers={"sec-fetch-site": "cross-site"})
    assert site.kit.memory._rows == before


async def test_a_version_that_is_no_number_is_refused():
    site = await make_site()
    await site.account()
    p = await site.logged_in()
    page = await p.json_post("/json/user/edit/self", firstname="A", version="abc")
    assert page.status == 400
