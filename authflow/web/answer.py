"""What goes out: status, headers, body, before the security headers are added."""

from __future__ import annotations

import json
from dataclasses import dataclass

from authflow.web.headers import Kind, RawHeader

_HTML, _JSON = b"text/html; charset=utf-8", b"application/json"

json_text = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
"""Write JSON. Made once: `json.dumps` makes an encoder for each call that wants other separators."""


@dataclass(slots=True)
class Answer:
    """What goes out."""

    status: int
    headers: list[RawHeader]
    body: bytes
    kind: Kind = Kind.PAGE

    @classmethod
    def html(cls, page: str, status: int = 200, kind: Kind = Kind.PAGE) -> Answer:
        return cls(status, [(b"content-type", _HTML)], page.encode(), kind)

    @classmethod
    def json(cls, value: object, status: int = 200) -> Answer:
        return cls.json_text(json_text(value), status)

    @classmethod
    def json_text(cls, text: str, status: int = 200) -> Answer:
        return cls(status, [(b"content-type", _JSON)], text.encode("utf-8", "surrogatepass"))

    @classmethod
    def redirect(cls, address: str) -> Answer:
        # 303: whatever the method was, the next request is a GET (RFC 9110, section 15.4.4).
        return cls(303, [(b"location", address.encode("ascii", "replace"))], b"")
