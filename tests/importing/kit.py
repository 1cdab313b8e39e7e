"""Entities of ViUR as an export holds them, and what they were made of."""

from __future__ import annotations

import io
import json

from authflow.import_files import Report, import_lines
from authflow.importing import Importing
from authflow.testing import Kit
from authflow.viur_entries import read_entry

ADA = "ada@example.org"
PASSWORD = "Passwort-1"
SALT = "a1B2c3D4e5F6g"
FIRST_ERA = "fcfbd65a6d45126a43a1b3a84bd2f488b171d1c1184b74ca75f9feb285413f752f769a8aa007ac130dc8"
LATER_ERA = "c52e150b2bad7c5e1a119015a046477ffadf87120ef3aed2f27041a12f60eb8bc1469ad76b04c6ea68da"
OTP_KEY = "3132333435363738393031323334353637383930"
OTP_APP = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
GOOGLE_SUBJECT = "108204268033311374519"

SEED = {
    "name": {"val": "Ada@example.org", "idx": ADA},
    "status": 10,
    "access": ["root"],
    "password": {"pwhash": FIRST_ERA, "salt": SALT},
    "uid": None,
    "otpid": None,
    "otpkey": None,
    "otptimedrift": 0.0,
    "gaeadmin": False,
    "creationdate": "2021-11-02T08:30:00+00:00",
    "lastlogin": "2024-05-01T12:00:00.250000+02:00",
}
"""As ViUR 3.3 keeps it."""

LATER = {
    "name": ADA,
    "firstname": "Ada",
    "lastname": "Lovelace",
    "status": 10,
    "roles": ["editor"],
    "access": ["admin", "user-view"],
    "password": {"pwhash": LATER_ERA, "salt": SALT, "iterations": 600000, "dklen": 42},
    "uid": GOOGLE_SUBJECT,
    "sync": True,
    "otp_serial": "GA-0815",
    "otp_secret": OTP_KEY,
    "otp_timedrift": 2.0,
    "otp_app_secret": None,
    "lastlogin": "2026-02-20T07:00:00+00:00",
}
"""As ViUR 3.9 keeps it, with everything."""


def entity(base: dict | None = None, /, **changes: object) -> dict:
    """Return an entity with other values; `...` takes one out."""
    whole = {**(SEED if base is None else base), **changes}
    return {name: value for name, value in whole.items() if value is not ...}


def lines(*entities: dict | str) -> io.BytesIO:
    """Return a file of them."""
    written = [text if isinstance(text, str) else json.dumps(text) for text in entities]
    return io.BytesIO("".join(f"{line}\n" for line in written).encode("utf-8", "surrogatepass"))


async def bring(kit: Kit, *entities: dict | str, **more) -> Report:
    """Read a file of entities into a store."""
    profile = [field.name for field in kit.user.profile_fields]
    return await import_lines(Importing(kit.engine), lines(*entities), lambda e: read_entry(e, profile), **more)


async def contents(kit: Kit) -> dict:
    """Return everything in the store."""
    return dict(kit.memory._rows)
