"""The browser reads pages and keeps cookies as browsers do, whatever application it talks to."""

from __future__ import annotations

import pytest

from authflow.testing import Browser
from authflow.testing.forms import Form, PageReader

PAGE = """
<html><head><title>Unseen</title><style>p { color: red }</style></head><body>
<h1>A  page</h1><p>with <b>words</b></p><script>var unseen = 1;</script>
<a href="/first">More</a> <a href="/second"><span>More</span></a>
<form method="post" action="/save">
  <input type="hidden" name="skey" value="s">
  <label for="n">Your name <span>(optional)</span></label><input id="n" name="name" value="Ada &amp; Co">
  <label for="c">Code</label><input id="c" name="code" autocomplete="one-time-code">
  <label for="p">Password</label><input id="p" name="password" type="password" autocomplete="current-password">
  <label for="t">Note</label><textarea id="t" name="note">
two
lines</textarea>
  <label for="k">Keep</label><input type="checkbox" id="k" name="keep" value="1">
  <input type="checkbox" name="sure" checked>
  <input type="hidden" name="roles" value=""><input type="checkbox" name="roles" value="a" checked>
  <input type="checkbox" name="roles" value="b"><input type="checkbox" name="roles" value="c" checked>
  <input type="radio" name="size" value="s"><input type="radio" name="size" value="m" checked>
  <label for="l">Language</label><select id="l" name="language"><option value="">-</option>
    <option value="en" selected>English</option><option value="de">Deutsch</option></select>
  <select name="first"><option value="1">1</option><option value="2">2</option></select>
  <input name="off" value="x" disabled><input type="submit" name="go" value="Go"><input value="nameless">
  <button name="provider" value="otp">An app</button><button type="submit">Save  it</button>
  <button type="button">Nothing</button>
</form>
<form action="/find?old=1"><label for="s">Search</label><input id="s" name="search"><button>Find</button></form>
</body></html>
"""


def form() -> Form:
    return PageReader(PAGE).forms[0]


def test_an_untouched_form_sends_what_a_browser_sends() -> None:
    assert form().values == {
        "skey": "s",
        "name": "Ada & Co",
        "code": "",
        "password": "",
        "note": "two\nlines",
        "sure": "on",
        "roles": ("", "a", "c"),
        "size": "m",
        "language": "en",
        "first": "1",
    }


def test_fields_are_filled_by_label_by_its_beginning_and_by_name() -> None:
    sent = form().filled({"your name": "Bob", "Keep": "1", "code": "123456"}, button="An app")

    assert (sent["name"], sent["keep"], sent["code"], sent["provider"]) == ("Bob", "1", "123456", "otp")
    assert "provider" not in form().filled({}, button="Save it")


@pytest.mark.parametrize("field", ["Nobody", "off", "go", ""])
def test_a_field_that_is_not_there_cannot_be_filled(field: str) -> None:
    with pytest.raises(LookupError, match="/save"):
        form().filled({field: "x"})


def test_a_button_that_does_nothing_cannot_be_pressed() -> None:
    with pytest.raises(LookupError, match="Save it"):
        form().filled({}, button="Nothing")


def test_what_is_for_codes_is_told_from_plain_text_and_from_names() -> None:
    forms = PageReader(PAGE).forms
    login = PageReader('<form><input name="n" autocomplete="username"><input name="p" type="password"></form>').forms[0]

    assert [(one.codes, one.texts) for one in forms] == [(["code"], ["name"]), ([], ["search"])]
    assert (login.codes, login.texts) == ([], [])


def test_words_are_what_is_to_be_read() -> None:
    words = PageReader(PAGE).words

    assert words.startswith("A page with words More More Your name (optional) Code")
    assert "Unseen" not in words
    assert "unseen" not in words
    assert "color" not in words


# --- Against an application -------------------------------------------------------------------------------------------


class Echo:
    """Answers with a page, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict] = []
        self.bodies: list[str] = []
        self.answers: list[tuple[int, list[tuple[str, str]], str]] = []

    async def __call__(self, scope, receive, send) -> None:
        self.asked.append(scope)
        self.bodies.append((await receive())["body"].decode())
        status, headers, text = self.answers.pop(0) if self.answers else (200, [], PAGE)
        raw = [(k.encode(), v.encode()) for k, v in [("content-type", "text/html; charset=utf-8"), *headers]]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": text.encode()})

    def header(self, name: str) -> str:
        return dict(self.asked[-1]["headers"]).get(name.encode(), b"").decode()


@pytest.fixture
def echo() -> Echo:
    return Echo()


async def test_a_pressed_button_sends_its_form(echo: Echo) -> None:
    browser = Browser(echo)
    await browser.get("/")

    await browser.press("Save it", {"Language": "de", "roles": ["", "b"]})

    assert (echo.asked[-1]["method"], echo.asked[-1]["path"]) == ("POST", "/save")
    assert "language=de" in echo.bodies[-1]
    assert "roles=&roles=b" in echo.bodies[-1]
    assert "a%2C" not in echo.bodies[-1]


async def test_a_form_says_where_it_comes_from_unless_the_browser_is_told_otherwise(echo: Echo) -> None:
    for headers, origin in (
        ({}, "https://login.example.org"),
        ({"Origin": "https://evil.example"}, "https://evil.example"),
    ):
        browser = Browser(echo, origin="https://login.example.org", headers=headers)
        await browser.get("/")
        assert echo.header("origin") == headers.get("Origin", "")

        await browser.press("Save it")

        assert (echo.header("origin"), echo.header("sec-fetch-site")) == (origin, "same-origin")
        assert [name for name, _ in echo.asked[-1]["headers"]].count(b"origin") == 1


async def test_a_form_that_asks_is_sent_in_the_address(echo: Echo) -> None:
    browser = Browser(echo)
    await browser.get("/")

    await browser.press("Find", {"Search": "ada"})

    assert (echo.asked[-1]["method"], echo.asked[-1]["path"]) == ("GET", "/find")
    assert echo.asked[-1]["query_string"] == b"search=ada"


async def test_the_first_link_that_fits_is_followed_to_its_page(echo: Echo) -> None:
    browser = Browser(echo)
    await browser.get("/")
    echo.answers = [(303, [("location", "/third")], "")]

    await browser.click("More", to="second")

    assert [scope["path"] for scope in echo.asked] == ["/", "/second", "/third"]


async def test_what_is_not_on_the_page_cannot_be_used(echo: Echo) -> None:
    browser = Browser(echo)
    with pytest.raises(LookupError, match="no page"):
        await browser.press("Save it")
    page = await browser.get("/")

    for wanted in (lambda: page.form("/nowhere"), lambda: page.form_with("Delete"), lambda: page.link("More", to="x")):
        with pytest.raises(LookupError):
            wanted()


async def test_redirects_in_a_circle_end(echo: Echo) -> None:
    echo.answers = [(303, [("location", "/again")], "")] * 20

    with pytest.raises(LookupError, match="/again"):
        await Browser(echo).open("/again")


async def test_cookies_are_kept_replaced_and_dropped(echo: Echo) -> None:
    browser = Browser(echo)
    for cookie in ("a=1; Path=/", "b=2; HttpOnly", "a=3; Path=/", "b=; Max-Age=0"):
        echo.answers = [(200, [("set-cookie", cookie)], "")]
        await browser.get("/")

    await browser.get("/")

    assert browser.cookies == {"a": "3"}
    assert echo.header("cookie") == "a=3"


@pytest.mark.parametrize(
    ("cookie", "is_kept"),
    [
        ("__Host-a=1; Secure; Path=/", True),
        ("__Host-a=1; Path=/", False),
        ("__Host-a=1; Secure; Path=/user", False),
        ("__Host-a=1; Secure", False),
        ("__Host-a=1; Secure; Path=/; Domain=example.org", False),
        ("__Secure-a=1; Secure", True),
        ("__Secure-a=1", False),
    ],
)
async def test_a_name_with_a_promise_is_kept_only_if_the_promise_is(echo: Echo, cookie: str, is_kept: bool) -> None:
    browser = Browser(echo)
    echo.answers = [(200, [("set-cookie", cookie)], "")]

    await browser.get("/")

    assert bool(browser.cookies) is is_kept


async def test_a_request_goes_to_the_origin_from_the_address(echo: Echo) -> None:
    browser = Browser(echo, origin="https://login.example.org", address="198.51.100.7", headers={"X-One": "1"})

    await browser.get("https://login.example.org/a%20b?c=d#e", headers={"X-Two": "2"})

    scope = echo.asked[-1]
    assert (scope["scheme"], scope["server"], scope["client"][0]) == (
        "https",
        ("login.example.org", 443),
        "198.51.100.7",
    )
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"c=d")
    assert (echo.header("host"), echo.header("x-one"), echo.header("x-two")) == ("login.example.org", "1", "2")


async def test_an_application_that_does_not_answer_is_told(echo: Echo) -> None:
    async def silent(scope, receive, send) -> None:
        return

    with pytest.raises(LookupError, match="no answer"):
        await Browser(silent).get("/")
