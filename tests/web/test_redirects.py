"""Redirect targets: whatever is asked for, a browser stays with us."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.web.redirects import MAX_LENGTH, safe_path
from tests.parts.require import require

BASES = ("https://login.example.org/user/login", "http://127.0.0.1:8000/")
DEFAULT = "/default"

GOOD = [
    "/",
    "/user/view/self",
    "/user/list?orderby=name&amount=30&cursor=aGk%3D#top",
    "/json/user/view/ahFkZXZ-YXV0aGZsb3ctMTIz",
    "/a/b.c-d_e~f/...x/.well-known/x..",
    "/x?next=https://other.example/%2F&y=//evil.example&z=..//",
    "/caf%C3%A9?name=ann%40example.org&q=a+b",
    "/s/main.html#/user/list",
    "/@evil.example",
    "/:80",
    "/a[0]=1",
    "/?",
    "/#",
    "/x?a[]=1&b=%0d%0a",
]

LEADS = [
    *("//", "///", "////", "/\\", "\\/", "\\\\", "\\", "/\\/", "/\\\\", "//\\"),
    *(
        "/\t/",
        "/\n/",
        "/\r\n/",
        "\t//",
        "\n//",
        "\r//",
        " //",
        "  /\t/",
        "\x00//",
        "/\x00/",
        "/\x0b/",
        "\x1f//",
        "\x7f//",
    ),
    *("/%09/", "/%0a/", "/%2f", "/%2F%2F", "/%5c", "/%5C/", "%2f%2f", "/%252f", "/%255c", "/%00/"),
    *("/.//", "/..//", "/./\\", "/../\\", "/%2e//", "/%2E%2e//", "/a/..//", "/a/%2e.//", "/.", "/..", "/././/", "//./"),
    *("https:", "https:/", "https://", "https:///", "https:\\\\", "https:\\", "HTTPS://", "hTtPs:", "http://", "http:"),
    *(
        "ht\ntps://",
        "\x01https://",
        " https://",
        "https\t://",
        "https:\t//",
        "://",
        ":",
        "javascript:",
        "java\tscript:",
    ),
    *(
        "data:text/html,",
        "vbscript:",
        "blob:https://",
        "file:///",
        "ftp://",
        "ws://",
        "mailto:",
        "about:",
        "view-source:",
    ),
    *("//user@", "//login.example.org@", "https://login.example.org@", "https://login.example.org:x@", "https://@"),
    *(
        "https://login.example.org\\@",
        "https://login.example.org%2f@",
        "https://login.example.org%00.",
        "https://127.1@",
    ),
    *(
        "／／",
        "/／",
        "\uff3c\uff3c",
        "⁄⁄",
        "//。",
        "/\u3000/",
        "/\u2028/",
        "/\xa0/",
        "\ufeff//",
        "/\u200b/",
        "\u202e//",
    ),
    *("", "./", "../", "?//", "#//", ";//", ".", "@", "[", "%"),
]
HOSTS = [
    "evil.example",
    "evil.example/",
    "evil.example/%2f..",
    "evil.example:443/x?y#z",
    "EVIL。example",
    "[::ffff:192.0.2.1]/",
    "3221225985",
    "evil.example\\@login.example.org",
    "login.example.org.evil.example",
    "login.example.org@evil.example",
]
VECTORS = [lead + host for lead, host in product(LEADS, HOSTS)]

# new URL() of Node is the parser of the URL Standard that browsers have.
ORACLE = """
const judge = (target, base) => {
  try { const url = new URL(target, base); return [url.origin, url.pathname]; } catch { return null; }
};
const [targets, bases] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(targets.map(target => bases.map(base => judge(target, base)))));
"""


def judged(request: pytest.FixtureRequest, targets: list[str]) -> list[list[tuple[str, str] | None]]:
    """Return origin and path that a browser reads in each target, for each base."""
    node = shutil.which("node")
    require(request, node is not None, "Node (for the URL Standard's own parser) is not installed")
    done = subprocess.run(
        [str(node), "-e", ORACLE],
        input=json.dumps([targets, BASES]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def origin_of(base: str) -> str:
    return base[: base.index("/", 8)]


def test_there_are_enough_vectors() -> None:
    assert len(set(VECTORS)) >= 500


def test_no_vector_leads_a_browser_away(request: pytest.FixtureRequest) -> None:
    results = [safe_path(vector, default=DEFAULT) for vector in VECTORS]

    for vector, verdicts in zip(VECTORS, judged(request, results), strict=True):
        for base, verdict in zip(BASES, verdicts, strict=True):
            assert verdict is not None, vector
            assert verdict[0] == origin_of(base), vector
            assert not verdict[1].startswith(("//", "/\\", "/%")), vector


def test_most_vectors_would_lead_a_browser_away(request: pytest.FixtureRequest) -> None:
    away = [
        vector
        for vector, verdicts in zip(VECTORS, judged(request, VECTORS), strict=True)
        if any(verdict is None or verdict[0] != origin_of(base) for base, verdict in zip(BASES, verdicts, strict=True))
    ]

    assert len(away) >= 400
    assert {safe_path(vector, default=DEFAULT) for vector in away} == {DEFAULT}


def test_a_browser_reads_the_good_paths_as_we_do(request: pytest.FixtureRequest) -> None:
    for verdicts in judged(request, GOOD):
        assert [verdict and verdict[0] for verdict in verdicts] == [origin_of(base) for base in BASES]


@pytest.mark.parametrize("target", GOOD)
def test_a_path_of_our_own_is_kept(target: str) -> None:
    assert safe_path(target, default=DEFAULT) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "x",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "https:evil.example",
        "https://evil.example",
        "https://login.example.org",
        "https://login.example.org@evil.example",
        "javascript:alert(1)",
        "/%2fevil.example",
        "/%5cevil.example",
        "/..//evil.example",
        "/%2e//evil.example",
        "/a//b",
        "/a/../b",
        "/a\r\nSet-Cookie: b=c",
        "/a b",
        "/é",
        "/\ud800",
        "/<script>",
        '/"',
        "/" + "a" * MAX_LENGTH,
        "/a\n",
    ],
)
def test_everything_else_is_the_default(target: str) -> None:
    assert safe_path(target, default=DEFAULT) == DEFAULT


def test_the_default_is_the_root() -> None:
    assert safe_path("//evil.example") == "/"


ALLOWED = ("https://app.example.org", "http://127.0.0.1:9000")


@pytest.mark.parametrize(
    "target",
    [
        "https://app.example.org",
        "https://app.example.org/",
        "https://app.example.org/a?b=c#d",
        "https://app.example.org?b=c",
        "http://127.0.0.1:9000/x",
    ],
)
def test_an_address_of_an_allowed_origin_is_kept(target: str) -> None:
    assert safe_path(target, default=DEFAULT, allowed_origins=ALLOWED) == target


@pytest.mark.parametrize(
    "target",
    [
        "http://app.example.org/",
        "https://app.example.org:8443/",
        "https://app.example.org.evil.example/",
        "https://app.example.org@evil.example/",
        "https://app.example.org\\@evil.example/",
        "https://app.example.org//evil.example",
        "https:app.example.org/",
        "https:///app.example.org/",
        "HTTPS://app.example.org/",
        "https://APP.example.org/",
        " https://app.example.org/",
        "//app.example.org/",
        "https://app.example.org/\n",
        "https://app.example.orgx/",
        "https://app.example.org;x/",
    ],
)
def test_what_only_looks_like_an_allowed_origin_is_not_kept(target: str) -> None:
    assert safe_path(target, default=DEFAULT, allowed_origins=ALLOWED) == DEFAULT


@given(st.text(max_size=60) | st.lists(st.sampled_from([*LEADS, *HOSTS, "/", "a"]), max_size=6).map("".join))
@settings(deadline=None, max_examples=500)
def test_what_is_kept_starts_with_one_slash_and_is_plain_ascii(target: str) -> None:
    result = safe_path(target, default=DEFAULT)

    assert result in {target, DEFAULT}
    assert result.isascii()
    assert result.isprintable()
    assert result[0] == "/"
    assert result[1:2] not in {"/", "\\"}
    assert "\\" not in result
