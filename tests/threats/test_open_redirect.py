"""A link to our login sends people on to somebody else's page (abuse cases 83, 84 and 119)."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product
from urllib.parse import quote

import pytest

from authflow.testing import ADA, PASSWORD, Site

HOST = "evil.example"


def vectors() -> list[str]:
    """Return targets that one browser or another takes for a foreign address."""
    slashes = ["//", "///", "////", "/\\", "\\\\", "\\/", "/\\/", "//\\", "/\t/", "/\n/", "/\r/", "\t//", " //", "/ /"]
    schemes = ["http:", "https:", "HTTPS:", "ftp:", "javascript:", "data:", "vbscript:", "", "blob:", "view-source:"]
    found = [scheme + slash + HOST for scheme, slash in product(schemes, slashes)]
    found += [f"https:{HOST}", f"https:/{HOST}", f"javascript:alert(1)//{HOST}", f"data:text/html,{HOST}"]
    found += [f"/..//{HOST}", f"/.//{HOST}", f"/%2f/{HOST}", f"/%2F%2F{HOST}", f"/%5c{HOST}", f"/%09/{HOST}"]
    found += [f"/user/..//{HOST}", f"/./{HOST}/..//{HOST}", f"//{HOST}/%2e%2e", f"///{HOST}/%2f.."]
    found += [f"http://127.0.0.1:8000@{HOST}/", f"http://127.0.0.1:8000.{HOST}/", f"//127.0.0.1:8000@{HOST}"]
    found += [f"{HOST}", f"@{HOST}", f".{HOST}", f":{HOST}", f"?//{HOST}", f"#//{HOST}", f"user//{HOST}"]
    found += [f"\u2028//{HOST}", f"\uff0f\uff0f{HOST}", f"/\uff0f{HOST}", f"/\u3000/{HOST}", f"\ufeff//{HOST}"]
    found += [f"/\x00/{HOST}", f"\x01//{HOST}", f"/\x0b/{HOST}", f"/\x7f/{HOST}", f"/\xa0/{HOST}", f"/\u200b/{HOST}"]
    found += [f"/user\r\nLocation: https://{HOST}", f"/user\nSet-Cookie: a=b//{HOST}", "/user%0d%0aSet-Cookie:%20a=b"]
    found += ["/" + "a" * 5000, "//", "/\\", "\\", "///", "https:", "//\\//", f"//{HOST}:80", f"//[::1]/{HOST}"]
    return found


def stays_with_us(location: str) -> bool:
    """Whether every browser takes an address for a path of the page's own origin (URL Standard, section 4.4)."""
    return re.fullmatch(r"/(?![/\\])[!-\[\]-~]*", location) is not None and not re.match(r"/\.{1,2}/+[/\\]", location)


def test_the_judge_of_this_file_knows_a_foreign_address() -> None:
    assert len(set(vectors())) > 180
    assert not any(stays_with_us(target) for target in ("//evil.example", "/\\evil.example", "https://x", "/a\nb", ""))
    assert stays_with_us("/user/view/self?a=b")


async def test_no_target_leads_away_after_a_login(site: Site) -> None:
    """Abuse case 83: `next` in every spelling that has ever worked anywhere."""
    person = site.person()
    await site.account()

    for target in vectors():
        page = await person.get("/user/login?next=" + quote(target, safe=""))
        assert page.status == 200
        answer = await person.send(page.form("login"), name=ADA, password=PASSWORD)
        assert answer.status == 303, target
        assert stays_with_us(answer.location), (target, answer.location)
        assert HOST not in answer.location or answer.location.startswith("/user"), (target, answer.location)


@pytest.mark.parametrize(
    "name", ["next", "next_url", "redirect", "return_to", "url", "continue", "bounce", "redirect_to"]
)
async def test_no_field_changes_the_target_in_the_middle(site: Site, name: str) -> None:
    """Abuse case 84: the target is given with the password or with the code."""
    await site.account_with_totp()
    person = site.person()
    form = (await person.get("/user/login?next=/user/edit/self")).form("login")

    step = await person.follow(await person.send(form, name=ADA, password=PASSWORD, **{name: f"//{HOST}"}))
    page = await person.post(
        step.form("otp").action + f"?{name}=//{HOST}", {**step.form("otp").values, "otptoken": site.code()}
    )

    assert page.location == "/user/edit/self"


@pytest.mark.parametrize("header", ["referer", "x-forwarded-host", "host", "x-forwarded-proto", "forwarded", "origin"])
async def test_no_header_says_where_to_go(site: Site, header: str) -> None:
    """Abuse case 84: the target is taken from where the person comes from, or from what the request calls itself."""
    await site.account()
    value = {"forwarded": f"host={HOST};proto=https", "x-forwarded-proto": "javascript"}.get(header, f"https://{HOST}/")
    person = site.person()
    headers = {header: value}

    home = await person.get("/", headers=headers)
    asked = await person.get("/user/edit/self", headers=headers)
    form = (await person.get("/user/login", headers=headers)).form("login")
    more = {} if header == "origin" else headers
    values = {**form.values, "name": ADA, "password": PASSWORD}
    answer = await person.post(form.action, values, headers=more)

    assert [home.location, asked.location] == ["/user/login", "/user/login?next=/user/edit/self"]
    assert answer.location == "/user/view/self"


async def test_the_way_to_a_fresh_login_leads_nowhere_else(site: Site) -> None:
    """Abuse case 83: the same, on the page that asks for the password once more."""
    await site.account()
    person = await site.logged_in()

    for target in vectors()[::7]:
        site.clock.pass_by(timedelta(minutes=1))
        page = await person.get("/user/login?reauthenticate=1&next=" + quote(target, safe=""))
        answer = await person.send(page.form("login"), password=PASSWORD)
        assert stays_with_us(answer.location), (target, answer.location)


async def test_a_path_of_ours_that_looks_foreign_is_not_handed_on(site: Site) -> None:
    """Abuse case 83: the address that was asked for is put into `next` by ourselves."""
    person = site.person()

    for path in (
        f"//{HOST}/user/view/self",
        f"/user/view/{HOST}",
        "/user/view/%2f%2fevil.example",
        "/user/view/%0d%0aX",
    ):
        page = await person.get(path)
        if page.status == 303:
            assert stays_with_us(page.location)
            login = await person.get(page.location)
            assert login.status == 200


async def test_no_address_that_we_send_people_to_holds_a_secret(site: Site) -> None:
    """Abuse case 119: a cookie, a password or a code in an address, where logs and other pages can read it."""
    await site.account_with_totp()
    person = site.person()
    jar = site.edge.jar
    locations = []

    first = await person.log_in()
    step = await person.follow(first)
    pending = person.cookies[jar.session_name]
    last = await person.send(step.form("otp"), otptoken=site.code())
    locations = [first.location, last.location]

    for secret in (
        PASSWORD,
        site.code(),
        pending.partition(".")[0],
        person.cookies[jar.session_name].partition(".")[0],
    ):
        assert not any(secret in location for location in locations)
