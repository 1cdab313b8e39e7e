"""Accounts as ViUR stores them, read out of an export: one JSON object for each entity of kind `user`.

Fields have the names of both eras: `otpid`, `otpkey`, `otptimedrift` up to 3.4 (seed), `otp_serial`, `otp_secret`,
`otp_timedrift` later. `docs/viur.md` lists them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from authflow.errors import BadInput
from authflow.foreign_hashes import from_viur
from authflow.importing import Arrival, LinkedElsewhere, Token
from authflow.model import Plain

SOURCE: Final = "viur"

_GOOGLE: Final = ("google_account", "https://accounts.google.com")
_DEVICE_INTERVAL: Final = 60
_APP_INTERVAL: Final = 30
_FARTHEST: Final = 10
"""Steps of drift up to which a device is found again at a login."""

_DEVICES: Final = (
    ("otp_serial", "otp_secret", "otp_timedrift"),
    ("otpid", "otpkey", "otptimedrift"),
)
"""The later names first: where an entity has both, ViUR has not looked at the older ones any more."""

_TAKEN: Final = frozenset(
    {"name", "status", "access", "roles", "password", "uid", "lastlogin", "creationdate", "otp_app_secret"}
).union(*_DEVICES)


def read_entry(entry: Mapping[str, Plain], profile_fields: Collection[str]) -> Arrival:
    """Read one entity.

    Args:
        entry: Its properties. A text may stand beside what ViUR searches by: `{"val": ..., "idx": ...}`.
        profile_fields: Names of `User.profile_fields`, which are taken along.

    Raises:
        BadInput: A field is missing, or is not what ViUR stores there. The message names it and quotes nothing.
    """
    password = entry.get("password")
    if not isinstance(password, dict | None):
        raise BadInput("password: an object is expected")
    return Arrival(
        source=SOURCE,
        name=_text(entry, "name") or _missing("name"),
        status=_status(entry),
        access=_names(entry, "access"),
        roles=_names(entry, "roles"),
        profile={name: value for name in profile_fields if (value := _text(entry, name))},
        password=from_viur(password) if password and any(password.values()) else None,
        identity=_identity(entry),
        token=_token(entry),
        created_at=_instant(entry, "creationdate"),
        last_login_at=_instant(entry, "lastlogin"),
        ignored=tuple(name for name in entry if name not in _TAKEN and name not in profile_fields),
    )


def _missing(name: str) -> str:
    raise BadInput(f"{name}: missing")


def _text(entry: Mapping[str, Plain], name: str) -> str:
    value = entry.get(name)
    if isinstance(value, dict):
        value = value.get("val")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInput(f"{name}: a text is expected")
    return value


def _status(entry: Mapping[str, Plain]) -> int:
    """Read the status. Without one nobody can say whether the account may log in, so there is no default."""
    value = entry.get("status")
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 999:
        raise BadInput("status: a number from 0 to 999 is expected")
    return value


def _names(entry: Mapping[str, Plain], name: str) -> tuple[str, ...]:
    value = entry.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadInput(f"{name}: a list of texts is expected")
    names = [item for item in value if isinstance(item, str) and item]
    if len(names) != len(value):
        raise BadInput(f"{name}: a list of texts is expected")
    return tuple(dict.fromkeys(names))


def _identity(entry: Mapping[str, Plain]) -> LinkedElsewhere | None:
    subject = _text(entry, "uid")
    if not subject:
        return None
    # OpenID Connect Core 1.0, section 2: `sub` is at most 255 ASCII characters.
    if re.fullmatch(r"[!-~]{1,255}", subject) is None:
        raise BadInput("uid: no subject of Google's")
    return LinkedElsewhere(*_GOOGLE, subject)


def _token(entry: Mapping[str, Plain]) -> Token | None:
    found = _device(entry)
    app = _text(entry, "otp_app_secret")
    if not app:
        return found
    if found is not None:
        raise BadInput("otp_app_secret: beside a hardware token; an account here has one of the two")
    try:
        secret = base64.b32decode(app + "=" * (-len(app) % 8), casefold=True)
    except ValueError:
        raise BadInput("otp_app_secret: not in base32") from None
    return Token("", secret.hex(), _APP_INTERVAL)


def _device(entry: Mapping[str, Plain]) -> Token | None:
    for serial_name, secret_name, drift_name in _DEVICES:
        serial, secret = _text(entry, serial_name), _text(entry, secret_name)
        if not serial and not secret:
            continue
        if not serial or not secret:
            # ViUR does not ask for such a factor; whether it was meant to, only people know.
            raise BadInput(f"{serial_name}, {secret_name}: one without the other")
        drift = entry.get(drift_name)
        if drift is None:
            drift = 0.0
        if isinstance(drift, bool) or not isinstance(drift, int | float):
            raise BadInput(f"{drift_name}: a number is expected")
        if abs(drift) > _FARTHEST:
            raise BadInput(f"{drift_name}: this device is more than {_FARTHEST} steps off; it would not be found again")
        return Token(serial, secret, _DEVICE_INTERVAL, float(drift))
    return None


def _instant(entry: Mapping[str, Plain], name: str) -> datetime | None:
    text = _text(entry, name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(f"{name}: no instant such as 2024-05-01T12:00:00+00:00") from None
