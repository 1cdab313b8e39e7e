"""The one decoder of what a request says: query string and body, merged as ViUR does, within limits, without guessing.

Whatever two parsers could read in two ways is refused: doubled names, files where text is due, broken escapes, other
encodings. Everything that comes out is text; what it means is the form's affair.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from json import JSONDecoder
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote_to_bytes

from authflow.errors import BadInput, PayloadTooLarge, UnsupportedMediaType
from authflow.web.headers import header_values

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

MAX_BODY = 64 * 1024
MAX_PARAMETERS = 100
MAX_NAME = 100
MAX_VALUE = 16 * 1024

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_LISTS = frozenset({"roles", "access"})
"""Names that ViUR's tools send several times: their fields are lists. One text, with commas, comes out."""
# ViUR: these are names of its methods' own arguments.
_RESERVED = frozenset({"self", "return"})


class ClientGone(Exception):
    """The client closed the connection before its request was complete. There is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a request says.

    Attributes:
        values: Query and body together; no name is in both.
        context: ViUR's context: the parameters whose name begins with `@`, without it.
        query_only: The values of the query. It is written to logs: no secret may come this way.
        body_only: The values of the body.
    """

    values: Mapping[str, str] = field(repr=False)
    context: Mapping[str, str] = field(repr=False)
    query_only: Mapping[str, str] = field(repr=False)
    body_only: Mapping[str, str] = field(repr=False)


_EMPTY: Mapping[str, str] = MappingProxyType({})
_NOTHING = Values(_EMPTY, _EMPTY, _EMPTY, _EMPTY)


async def read_values(scope: Scope, receive: Receive) -> Values:
    """Read query and body; of a GET or HEAD the query alone.

    Raises:
        BadInput: Something is malformed, doubled or over a limit.
        PayloadTooLarge: The body has more than 64 KiB. What is over them is not read.
        UnsupportedMediaType: The body is neither a form nor JSON.
        ClientGone: The connection was closed.
    """
    query = _from_urlencoded(scope["query_string"])
    body = {} if scope["method"] in _READING else await _read_body(scope, receive)
    if not query and not body:
        return _NOTHING
    if len(query) + len(body) > MAX_PARAMETERS or not query.keys().isdisjoint(body):
        raise BadInput("too many parameters, or one in both query and body")
    context = _take_context(query) | _take_context(body)
    values = query | body
    if not _RESERVED.isdisjoint(values):
        raise BadInput("a parameter has a reserved name")
    return Values(values, context, query, body)


def _take_context(parameters: dict[str, str]) -> dict[str, str]:
    names = [name for name in parameters if name[0] == "@"]
    return {name[1:]: parameters.pop(name) for name in names}


# --- The body ---------------------------------------------------------------------------------------------------------


async def _read_body(scope: Scope, receive: Receive) -> dict[str, str]:
    length = _single(scope, b"content-length") or "0"
    if not (length.isascii() and length.isdigit() and len(length) <= 20):
        raise BadInput("content-length is no number")
    if int(length) > MAX_BODY:
        raise PayloadTooLarge("content-length is over the limit")
    if _single(scope, b"content-encoding").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("the body is compressed")
    raw = await _receive(receive)
    if not raw:
        return {}
    media_type, _, options = _single(scope, b"content-type").partition(";")
    if _CHARSET.search(options) and not _UTF_8.search(options):
        raise UnsupportedMediaType("the body is not UTF-8")
    # No other type: `text/plain` can be sent across sites without a preflight, and must not pass for JSON.
    match media_type.strip().lower():
        case "application/x-www-form-urlencoded":
            return _from_urlencoded(raw)
        case "multipart/form-data":
            return _from_multipart(raw, options)
        case "application/json":
            return _from_json(raw)
    raise UnsupportedMediaType("the body is neither a form nor JSON")


_CHARSET = re.compile(r"\bcharset\b", re.I)
_UTF_8 = re.compile(r"""(?:^|;)[ \t]*charset=("?)utf-?8\1[ \t]*(?:;|$)""", re.I)


def _single(scope: Scope, name: bytes) -> str:
    """Return the one value of a header; a header that is sent twice has no meaning that all agree on."""
    values = header_values(scope, name)
    if len(values) > 1:
        raise BadInput(f"{name.decode()} is sent more than once")
    return values[0].decode("latin-1").strip(" \t") if values else ""


async def _receive(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            raise PayloadTooLarge("the body is over the limit")
        if chunk:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


# --- The formats ------------------------------------------------------------------------------------------------------


def _from_urlencoded(raw: bytes) -> dict[str, str]:
    """Read a query or form (URL Standard, section 5.1), strictly."""
    parameters: dict[str, str] = {}
    if not raw:
        return parameters
    if len(raw) > MAX_BODY or raw.count(b"&") >= MAX_PARAMETERS:
        raise BadInput("too many parameters")
    if _BAD_ESCAPE.search(raw):
        raise BadInput("a percent-escape is broken")
    for piece in raw.replace(b"+", b" ").split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            _add(parameters, _text(unquote_to_bytes(name)), _text(unquote_to_bytes(value)))
    return parameters


_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _from_json(raw: bytes) -> dict[str, str]:
    """Read a JSON object of texts, numbers, truth values and nulls."""
    try:
        document = _JSON.decode(_text(raw))
    # A deep document ends in RecursionError.
    except (ValueError, RecursionError) as error:
        raise BadInput("the body is no JSON") from error
    if not isinstance(document, dict):
        raise BadInput("the body is no JSON object")
    parameters: dict[str, str] = {}
    for name, value in document.items():
        match value:
            case None:
                _check_name(name)
            case bool():
                _add(parameters, name, "true" if value else "false")
            case str():
                _add(parameters, name, value)
            case list() if name in _LISTS and all(isinstance(item, str) for item in value):
                _add(parameters, name, ",".join(value))
            case _:
                raise BadInput("a JSON value is neither text nor number nor truth value")
    return parameters


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs) or len(pairs) > MAX_PARAMETERS:
        raise BadInput("a JSON object has doubled or too many names")
    return unique


def _refuse_constant(_: str) -> NoReturn:
    raise BadInput("NaN and Infinity are no JSON")


# Numbers stay the text they were sent as: nothing is rounded, and no thousand digits are turned into an int.
_JSON = JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str, parse_constant=_refuse_constant)


def _from_multipart(raw: bytes, options: str) -> dict[str, str]:
    """Read multipart/form-data (RFC 7578) that holds text fields only."""
    # Needed by few requests: not at start.
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser

    # It warns of every malformed body, and strangers could fill the log with those.
    logging.getLogger("python_multipart.multipart").setLevel(logging.ERROR)
    boundary = _BOUNDARY.fullmatch(options)
    if boundary is None:
        raise BadInput("the boundary is missing or malformed")
    parts = _Parts()
    parser = MultipartParser(
        boundary["quoted"] or boundary["bare"],
        {
            "on_part_begin": parts.begin,
            "on_header_field": parts.header_name,
            "on_header_value": parts.header_value,
            "on_header_end": parts.header_end,
            "on_headers_finished": parts.headers_finished,
            "on_part_data": parts.data,
            "on_part_end": parts.end_part,
            "on_end": parts.end,
        },
        max_size=MAX_BODY,
        max_header_count=8,
        max_header_size=1024,
    )
    try:
        parser.write(raw)
    except FormParserError as error:
        raise BadInput("the multipart body is malformed") from error
    if not parts.is_complete:
        raise BadInput("the multipart body is cut")
    return parts.parameters


# RFC 2046, section 5.1.1. A second boundary does not match.
_BOUNDARY = re.compile(
    r"""[ \t]*(?:charset="?[\w-]+"?[ \t]*;[ \t]*)?"""
    r"""boundary=(?:"(?P<quoted>[\w'()+,\-./:=? ]{0,69}[\w'()+,\-./:=?])"|(?P<bare>[\w'+\-.]{1,70}))"""
    r"""[ \t]*(?:;[ \t]*charset="?[\w-]+"?[ \t]*)?""",
    re.A | re.I,
)
_DISPOSITION = re.compile(
    rb"""form-data[ \t]*;[ \t]*name=(?:"([^"\\\r\n]*)"|([\w!#$&'+\-.^`|~]+))[ \t]*""", re.A | re.I
)


class _Parts:
    """Takes what the multipart parser finds, part by part."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.is_complete = False
        self._count = 0
        self._reset()

    def _reset(self) -> None:
        self._name: str | None = None
        self._value = bytearray()
        self._field = b""
        self._content = b""

    def begin(self) -> None:
        self._count += 1
        if self._count > MAX_PARAMETERS:
            raise BadInput("too many parts")
        self._reset()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def header_end(self) -> None:
        content = self._content.strip(b" \t")
        match self._field.lower():
            case b"content-disposition":
                if self._name is not None:
                    raise BadInput("a part has two names")
                found = _DISPOSITION.fullmatch(content)
                if found is None:
                    raise BadInput("a part is a file or has no plain name")
                self._name = _text(found[1] if found[1] is not None else found[2])
            case b"content-type":
                media_type, _, options = content.decode("latin-1").partition(";")
                if media_type.strip().lower() != "text/plain" or (options and not _UTF_8.search(options)):
                    raise BadInput("a part is not UTF-8 text")
            case b"content-transfer-encoding":
                if content.lower() not in {b"7bit", b"8bit", b"binary"}:
                    raise BadInput("a part is encoded")
        self._field = self._content = b""

    def headers_finished(self) -> None:
        if self._name is None:
            raise BadInput("a part has no name")

    def data(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_part(self) -> None:
        _add(self.parameters, self._name or "", _text(bytes(self._value)))

    def end(self) -> None:
        self.is_complete = True


# --- One parameter ----------------------------------------------------------------------------------------------------


def _add(parameters: dict[str, str], name: str, value: str) -> None:
    _check_name(name)
    if name in parameters:
        if name not in _LISTS:
            raise BadInput("a parameter is doubled")
        value = f"{parameters[name]},{value}"
    if len(value) > MAX_VALUE:
        raise BadInput("a value is too long")
    if not value.isascii():
        _check_encodable(value)
    parameters[name] = value


def _check_name(name: str) -> None:
    # Printable: no NUL, no line feed that could forge a line of the log, no lone surrogate.
    if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name == "@":
        raise BadInput("a parameter's name is empty, too long or not printable")


def _check_encodable(value: str) -> None:
    """Refuse a lone surrogate: JSON can write one, and no store or hash can encode it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput("a value holds half a character") from error


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadInput("the text is not UTF-8") from error
