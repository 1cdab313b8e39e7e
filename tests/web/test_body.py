"""The body decoder: what browsers and programs send is read alike, and what could be read in two ways is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import BadInput, PayloadTooLarge, RequestError, UnsupportedMediaType
from authflow.web.body import MAX_BODY, MAX_NAME, MAX_PARAMETERS, MAX_VALUE, ClientGone, Values, read_values

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"
JSON = "application/json"


class Receiver:
    """Hands out a body in chunks, as a server does, and counts what was taken."""

    def __init__(self, chunks: Iterable[bytes], *, cut: bool = False) -> None:
        self._chunks = list(chunks)
        self._cut = cut
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        if self.taken == len(self._chunks):
            return {"type": "http.disconnect"}
        chunk = self._chunks[self.taken]
        self.taken += 1
        return {"type": "http.request", "body": chunk, "more_body": self._cut or self.taken < len(self._chunks)}


def a_scope(
    method: str = "POST",
    content_type: str | None = FORM,
    *,
    query: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> dict[str, Any]:
    typed = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    return {"type": "http", "method": method, "query_string": query, "headers": [*typed, *headers]}


def read(scope: dict[str, Any], body: bytes = b"") -> Values:
    """Run the decoder without an event loop: it waits for nothing but the receiver."""
    return run(scope, Receiver([body]))


def run(scope: dict[str, Any], receiver: Receiver) -> Values:
    with pytest.raises(StopIteration) as stopped:
        read_values(scope, receiver).send(None)
    values = stopped.value.value
    assert isinstance(values, Values)
    return values


def post(body: bytes | str, content_type: str | None = FORM, query: bytes = b"") -> Mapping[str, str]:
    raw = body.encode() if isinstance(body, str) else body
    return read(a_scope(content_type=content_type, query=query), raw).values


def multipart(*parts: tuple[str, str], end: str = "--XX--\r\n") -> bytes:
    """Build a body of (headers, value) parts."""
    return ("".join(f"--XX\r\n{headers}\r\n\r\n{value}\r\n" for headers, value in parts) + end).encode()


def a_part(name: str, value: str) -> tuple[str, str]:
    return f'Content-Disposition: form-data; name="{name}"', value


# --- What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"name=ann%40example.org&password=a+b%26c%C3%A9", FORM),
        (b"name=ann@example.org&password=a%20b%26c\xc3\xa9", FORM + "; charset=UTF-8"),
        (b"&name=ann%40example.org&&password=a+b%26c%c3%a9&", "Application/X-WWW-Form-Urlencoded"),
        (multipart(a_part("name", "ann@example.org"), a_part("password", "a b&cé")), MULTIPART),
        (
            multipart(a_part("name", "ann@example.org"), a_part("password", "a b&cé")),
            'multipart/form-data;boundary="XX"',
        ),
        (json.dumps({"name": "ann@example.org", "password": "a b&cé"}).encode(), JSON),
        ('{"name":"ann@example.org","password":"a b&cé"}'.encode(), JSON + "; charset=utf-8"),
    ],
)
def test_every_format_gives_the_same_values(body: bytes, content_type: str) -> None:
    assert post(body, content_type) == {"name": "ann@example.org", "password": "a b&cé"}


def test_query_and_body_are_merged_and_still_told_apart() -> None:
    values = read(a_scope(query=b"style=popup"), b"name=ann")

    assert values.values == {"style": "popup", "name": "ann"}
    assert values.query_only == {"style": "popup"}
    assert values.body_only == {"name": "ann"}


def test_context_parameters_are_kept_apart() -> None:
    values = read(a_scope(query=b"@vi-admin=true"), b"name=ann&@lang=de&@self=1")

    assert values.context == {"vi-admin": "true", "lang": "de", "self": "1"}
    assert values.values == {"name": "ann"}
    assert values.query_only == {}
    assert values.body_only == {"name": "ann"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_reading_request_is_its_query_alone(method: str) -> None:
    receiver = Receiver([b"name=ann"])

    values = run(a_scope(method, query=b"next=%2Fx"), receiver)

    assert values.values == {"next": "/x"}
    assert receiver.taken == 0


def test_a_name_without_value_is_empty_text() -> None:
    assert post("abort&name=") == {"abort": "", "name": ""}


def test_an_empty_body_needs_no_type() -> None:
    assert post(b"", None) == {}
    assert post(b"", "text/plain") == {}


def test_a_body_in_many_chunks_is_one_body() -> None:
    chunks = [bytes([byte]) for byte in b"name=ann&skey=1"]

    assert run(a_scope(), Receiver([b"", *chunks, b""])).values == {"name": "ann", "skey": "1"}


def test_json_values_become_text_as_sent() -> None:
    body = '{"a": 12345678901234567890, "b": 1.50, "c": true, "d": false, "e": null, "f": -0, "g": 1e400}'

    assert post(body, JSON) == {
        "a": "12345678901234567890",
        "b": "1.50",
        "c": "true",
        "d": "false",
        "f": "-0",
        "g": "1e400",
    }


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Disposition: form-data; name=code",
        'content-disposition:form-data;name="code"\r\nContent-Type: text/plain; charset=utf-8',
        'Content-Type: text/plain\r\nContent-Disposition: FORM-DATA; name="code"',
        'Content-Disposition: form-data; name="code"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Length: 6',
    ],
)
def test_parts_are_read_as_the_usual_clients_write_them(headers: str) -> None:
    assert post(multipart((headers, "123456")), MULTIPART) == {"code": "123456"}


def test_a_part_keeps_its_line_breaks_and_near_boundaries() -> None:
    value = "a\r\n--X\r\n--XY\r\n-- XX"

    assert post(multipart(a_part("note", value)), MULTIPART) == {"note": value}


def test_values_do_not_show_what_was_typed() -> None:
    assert "hunter2" not in repr(read(a_scope(), b"password=hunter2"))


# --- What is refused --------------------------------------------------------------------------------------------------

FORM_REFUSED = {
    "doubled": b"name=a&name=b",
    "doubled_by_escape": b"name=a&n%61me=b",
    "doubled_context": b"@a=1&%40a=2",
    "escape_of_no_digits": b"a=%zz",
    "escape_cut": b"a=%4",
    "escape_at_end": b"a=%",
    "escape_in_name": b"%g1=a",
    "escape_unicode": b"a=%u0041",
    "not_utf8": b"a=%ff",
    "raw_not_utf8": b"a=\xff",
    "surrogate": b"a=%ed%a0%80",
    "overlong": b"a=%c0%af",
    "nul_in_name": b"a%00=1",
    "line_feed_in_name": b"a%0Ab=1",
    "bidi_in_name": b"a%E2%80%AE=1",
    "no_name": b"=1",
    "no_context_name": b"@=1",
    "self": b"self=1",
    "return": b"a=1&return=1",
    "long_name": b"n" * (MAX_NAME + 1) + b"=1",
    "long_value": b"a=" + b"v" * (MAX_VALUE + 1),
    "too_many": b"&".join(b"a%d=1" % number for number in range(MAX_PARAMETERS + 1)),
    "only_ampersands": b"&" * MAX_PARAMETERS,
}


@pytest.mark.parametrize("body", FORM_REFUSED.values(), ids=FORM_REFUSED)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        post(body)


@pytest.mark.parametrize("query", FORM_REFUSED.values(), ids=FORM_REFUSED)
def test_a_malformed_query_is_refused(query: bytes) -> None:
    with pytest.raises(BadInput):
        read(a_scope("GET", query=query))


@pytest.mark.parametrize(
    ("query", "body"),
    [(b"name=a", b"name=b"), (b"name=a", b"name=a"), (b"@x=1", b"@x=2")],
)
def test_a_name_in_both_query_and_body_is_refused(query: bytes, body: bytes) -> None:
    with pytest.raises(BadInput):
        post(body, query=query)


def test_the_limit_of_parameters_is_that_of_query_and_body_together() -> None:
    half = [f"{number}=1" for number in range(MAX_PARAMETERS)]

    assert len(post("&".join(half))) == MAX_PARAMETERS
    with pytest.raises(BadInput):
        post("&".join(half), query=b"one=more")


JSON_REFUSED = {
    "list": b"[]",
    "text": b'"OKAY"',
    "number": b"1",
    "null": b"null",
    "nested_list": b'{"a": ["b"]}',
    "nested_object": b'{"a": {"$ne": null}}',
    "doubled": b'{"a": 1, "a": 2}',
    "doubled_by_null": b'{"a": null, "a": 2}',
    "doubled_by_escape": b'{"a": 1, "\\u0061": 2}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": Infinity}',
    "minus_infinity": b'{"a": -Infinity}',
    "deep_list": b'{"a":' + b"[" * 60_000,
    "deep_object": b'{"a":' * 12_000,
    "lone_surrogate": b'{"a": "\\ud800"}',
    "lone_surrogate_in_name": b'{"\\udfff": "a"}',
    "nul_in_name": b'{"a\\u0000": 1}',
    "nul_name_of_null": b'{"a\\u0000": null}',
    "control_character": b'{"a": "\n"}',
    "byte_order_mark": b"\xef\xbb\xbf{}",
    "utf_16": '{"a": "b"}'.encode("utf-16"),
    "not_utf8": b'{"a": "\xff"}',
    "cut": b'{"a": "b"',
    "trailing": b'{"a": "b"}x',
    "comment": b'{"a": 1 /* x */}',
    "single_quotes": b"{'a': 1}",
    "no_name": b'{"": 1}',
    "self": b'{"self": 1}',
    "long_number": b'{"a": ' + b"9" * 60_000 + b"}",
    "long_exponent": b'{"a": 1e' + b"9" * 60_000 + b"}",
    "too_many": json.dumps({str(number): None for number in range(MAX_PARAMETERS + 1)}).encode(),
    "form": b"name=ann",
}


@pytest.mark.parametrize("body", JSON_REFUSED.values(), ids=JSON_REFUSED)
def test_malformed_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        post(body, JSON)


MULTIPART_REFUSED = {
    "file": multipart(('Content-Disposition: form-data; name="a"; filename="a.txt"', "x")),
    "file_first": multipart(('Content-Disposition: form-data; filename="a.txt"; name="a"', "x")),
    "extended_file": multipart(("Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''a", "x")),
    "extended_name": multipart(("Content-Disposition: form-data; name*=UTF-8''a", "x")),
    "empty_file": multipart(('Content-Disposition: form-data; name="a"; filename=""', "")),
    "two_names": multipart(('Content-Disposition: form-data; name="a"; name="b"', "x")),
    "two_dispositions": multipart(
        ('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"', "x")
    ),
    "no_name": multipart(("Content-Disposition: form-data", "x")),
    "empty_name": multipart(a_part("", "x")),
    "no_disposition": multipart(("Content-Type: text/plain", "x")),
    "attachment": multipart(('Content-Disposition: attachment; name="a"', "x")),
    "doubled": multipart(a_part("a", "1"), a_part("a", "2")),
    "reserved": multipart(a_part("self", "1")),
    "other_charset": multipart((a_part("a", "")[0] + "\r\nContent-Type: text/plain; charset=latin-1", "x")),
    "json_part": multipart((a_part("a", "")[0] + "\r\nContent-Type: application/json", "{}")),
    "base64_part": multipart((a_part("a", "")[0] + "\r\nContent-Transfer-Encoding: base64", "eA==")),
    "not_utf8": multipart(a_part("a", "?")).replace(b"?", b"\xff"),
    "not_utf8_name": multipart(a_part("?", "1")).replace(b"?", b"\xff"),
    "cut": multipart(a_part("a", "1"), end=""),
    "cut_header": b"--XX\r\nContent-Dispo",
    "other_boundary": multipart(a_part("a", "1")).replace(b"XX", b"YY"),
    "garbage": b"garbage",
    "dashes": b"-" * 60_000,
    "long_header": multipart(("X: " + "y" * 2000, "")),
    "many_headers": multipart(("\r\n".join(f"X{number}: 1" for number in range(20)), "")),
    "many_parts": multipart(*(a_part(f"a{number}", "") for number in range(MAX_PARAMETERS + 1))),
    "many_empty_parts": b"--XX\r\n\r\n" * 8000,
}


@pytest.mark.parametrize("body", MULTIPART_REFUSED.values(), ids=MULTIPART_REFUSED)
def test_a_malformed_or_file_carrying_multipart_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        post(body, MULTIPART)


@pytest.mark.parametrize(
    "options",
    [
        "",
        ";",
        "; boundary=",
        '; boundary=""',
        "; boundary=XX; boundary=YY",
        "; boundary=" + "X" * 71,
        "; boundary=\xe9",
    ],
)
def test_a_multipart_body_without_one_boundary_is_refused(options: str) -> None:
    with pytest.raises(BadInput):
        post(multipart(a_part("a", "1")), "multipart/form-data" + options)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "text/plain; x=application/json",
        "text/json",
        "application/xml",
        "application/octet-stream",
        "multipart/mixed; boundary=XX",
        "application/json, text/plain",
        "application/jsonp",
        "application/json; charset=utf-16",
        FORM + "; charset=latin-1",
        FORM + "; charset=utf-8-sig",
    ],
)
def test_another_content_type_is_refused(content_type: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        post('{"name": "ann"}', content_type)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"identity, gzip", b"x"])
def test_a_compressed_body_is_refused_unread(encoding: bytes) -> None:
    receiver = Receiver([b"name=ann"])

    with pytest.raises(UnsupportedMediaType):
        run(a_scope(headers=[(b"content-encoding", encoding)]), receiver)
    assert receiver.taken == 0


def test_a_body_that_is_called_identity_is_read() -> None:
    assert read(a_scope(headers=[(b"content-encoding", b"Identity")]), b"a=1").values == {"a": "1"}


@pytest.mark.parametrize("name", [b"content-type", b"content-length", b"content-encoding"])
def test_a_doubled_header_of_the_body_is_refused(name: bytes) -> None:
    with pytest.raises(BadInput):
        read(a_scope(content_type=None, headers=[(name, b"1"), (name, b"2")]), b"a=1")


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"0x10", b"\xb2", b"9" * 5000])
def test_a_content_length_that_is_no_number_is_refused(length: bytes) -> None:
    with pytest.raises(BadInput):
        read(a_scope(headers=[(b"content-length", length)]), b"a=1")


# --- Size and disconnection -------------------------------------------------------------------------------------------


def test_a_body_that_is_announced_too_large_is_refused_unread() -> None:
    receiver = Receiver([b"a=1"])

    with pytest.raises(PayloadTooLarge):
        run(a_scope(headers=[(b"content-length", str(MAX_BODY + 1).encode())]), receiver)
    assert receiver.taken == 0


@pytest.mark.parametrize("content_type", [FORM, MULTIPART, JSON, "text/plain", None])
def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(content_type: str | None) -> None:
    receiver = Receiver([b"x" * 1024] * 1000)

    with pytest.raises(PayloadTooLarge):
        run(a_scope(content_type=content_type), receiver)
    assert receiver.taken == MAX_BODY // 1024 + 1


def test_the_largest_values_are_read() -> None:
    body = urlencode({"n" * MAX_NAME: "v" * MAX_VALUE, "b": "w" * MAX_VALUE})

    assert len(post(body)["b"]) == MAX_VALUE


@pytest.mark.parametrize("chunks", [[], [b"name=a"]])
def test_a_client_that_went_away_is_told_apart(chunks: list[bytes]) -> None:
    with pytest.raises(ClientGone):
        run(a_scope(), Receiver(chunks, cut=True))


# --- Whatever comes ---------------------------------------------------------------------------------------------------

CONTENT_TYPES = st.sampled_from([FORM, MULTIPART, JSON, "text/plain"]) | st.text(st.characters(max_codepoint=255))
BODIES = st.binary(max_size=300) | st.lists(
    st.sampled_from(
        [
            *(
                b"--XX",
                b"--",
                b"\r\n",
                b"\r",
                b'Content-Disposition: form-data; name="a"',
                b"a",
                b"=",
                b"&",
                b"%",
                b"%41",
            ),
            *(b"{", b"}", b'"a"', b":", b"[", b"1e9", b",", b"\\ud800", b"\xff", b"\x00", b"@", b"self"),
        ]
    ),
    max_size=30,
).map(b"".join)


@given(content_type=CONTENT_TYPES, body=BODIES, query=BODIES)
@settings(deadline=None, max_examples=500)
def test_no_request_ends_in_another_exception(content_type: str, body: bytes, query: bytes) -> None:
    try:
        values = read(a_scope(content_type=content_type, query=query), body)
    except RequestError:
        return
    for name, value in {**values.values, **values.context}.items():
        assert name.isprintable()
        assert value.encode().decode() == value


@given(
    st.dictionaries(
        st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20), st.text(max_size=40), max_size=20
    )
)
@settings(deadline=None)
def test_what_is_encoded_by_the_book_comes_back(fields: dict[str, str]) -> None:
    expected = {name: value for name, value in fields.items() if name not in {"self", "return"}}
    scalars = {name: value.encode("utf-8", "replace").decode() for name, value in expected.items()}

    assert post(urlencode(scalars)) == scalars
    assert post(json.dumps(scalars), JSON) == scalars
