"""Time-based one-time passwords (RFC 6238) of authenticator apps and of hardware tokens, with drift correction.

A device's clock may be wrong. Its drift is kept with the credential, as a number of the device's own time steps, and
the window of valid codes is centred at the present counter plus that drift. Each counter is spent once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import quote, urlencode, urlsplit

from authflow.errors import BadInput, ConfigurationError
from authflow.fields import Field, FieldType
from authflow.model import Credential, Plain
from authflow.provider import (
    Ask,
    Charge,
    Enrolled,
    Enrolment,
    Outcome,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
    Verified,
)

MAX_DRIFT = 10
"""Steps that a device may be off in all. Beyond it the device needs a new battery, not a wider search."""

MAX_MOVE = 0.3
"""Steps that the drift moves at most by one success. ViUR: `updateTimeDrift`."""

NOTHING_SPENT = -1
"""`last_counter` of a credential that was never used."""

ALGORITHMS: Mapping[str, Callable[..., object]] = {
    "SHA1": hashlib.sha1,
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECRET_BYTES = 20  # 160 bits, as RFC 4226 (R6) recommends
_LEAST_SECRET_BYTES = 16  # 128 bits, as RFC 4226 (R6) demands
_LONGEST_INTERVAL = 120  # NIST SP 800-63B-4, section 3.1.4.1
_LABEL_LENGTH = 100  # so that no name is too long for a QR code


class TimeBasedOTP(SecondFactorProvider):
    """Authenticator apps, enrolled by the person, and hardware tokens, handed out by the operator.

    Attributes:
        window_size: Steps on either side of the centre whose codes are valid: 1 means three codes, 5 is the most (as
            in ViUR, where eleven codes are far easier to guess than three).
        issuer: Name of the site as apps show it; empty for its host name.
        interval, digits, algorithm: Of newly enrolled apps. Several apps ignore anything but these values.
    """

    name = "time_based_otp"
    label = "Authenticator app"

    window_size: ClassVar[int] = 1
    issuer: ClassVar[str] = ""
    interval: ClassVar[int] = 30
    digits: ClassVar[int] = 6
    algorithm: ClassVar[str] = "SHA1"

    otp_field: ClassVar[Field] = Field(
        "otptoken", FieldType.CODE, "Code", max_length=32, autocomplete="one-time-code", inputmode="numeric"
    )

    def configure(self, environment: Mapping[str, str]) -> bool:
        """Refuse bad class attributes when the app is built."""
        if self.window_size not in range(1, 6):
            raise ConfigurationError(f"{self.name}: window_size must be 1 to 5, not {self.window_size}")
        if ":" in self.issuer or len(self.issuer) > _LABEL_LENGTH // 2:
            raise ConfigurationError(f"{self.name}: issuer must be without colon and at most {_LABEL_LENGTH // 2} long")
        problem = _problem(self.interval, self.digits, self.algorithm)
        if problem:
            raise ConfigurationError(f"{self.name}: {problem}")
        return True

    # --- Proving ------------------------------------------------------------------------------------------------------

    def begin(self, context: ProviderContext) -> Ask:
        return Ask(fields=(self.otp_field,))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        """Judge a code: by the window, or together with the code before it by a wider search (resynchronisation).

        A wrong code, one outside the window and one for nobody's credential read the same and cost the same.
        """
        device = _NOBODYS_DEVICE if credential is None else _read(credential)
        if device is None:
            return Rejected("factor_unavailable", Charge.NOTHING)
        code = _normalise(submission.get(self.otp_field.name), device.digits)
        if code is None:
            return Rejected("code_malformed", Charge.NOTHING)
        verdict = self._judge(device, code, context.now)
        if credential is None:
            return Rejected("code_wrong")
        # A rejection that changes nothing about the device must not cost a write.
        changed = None if verdict.device == device else _write(verdict.device, credential, context.now)
        match verdict.reason:
            case "":
                return Verified(context.prove(self), changed)
            case "code_replayed":
                # It is the owner who clicked twice: whoever holds a spent code gains nothing and locks nobody out.
                return Rejected("code_replayed", Charge.FLOW, changed)
            case reason:
                return Rejected(reason, Charge.ACCOUNT, changed)

    def _judge(self, device: _Device, code: str, now: datetime) -> _Verdict:
        present = _counter(now, device.interval)
        centre = present + round(device.drift)
        # All that an allowed drift could bring into the window. It is compared in full, whatever matches.
        reach = MAX_DRIFT + self.window_size
        counters = range(max(present - reach, 0), present + reach + 1)
        codes = generate_otps(device.secret, counters, digits=device.digits, algorithm=device.algorithm)
        matches = [n for n, expected in zip(counters, codes, strict=True) if hmac.compare_digest(expected, code)]
        # Two counters may share a code: the likelier one is meant.
        fresh = sorted((n for n in matches if n > device.last_counter), key=lambda n: (abs(n - centre), n))
        forgotten = replace(device, candidate=None)
        if fresh and abs(fresh[0] - centre) <= self.window_size:
            drift = self.update_time_drift(device.drift, fresh[0] - centre)
            return _Verdict("", replace(forgotten, drift=drift, last_counter=fresh[0]))
        if device.candidate is not None and device.candidate + 1 in fresh:
            # RFC 4226, section 7.4: one far code may be a guess, two in a row are the device.
            counter = device.candidate + 1
            return _Verdict("", replace(forgotten, drift=_cap(float(counter - present)), last_counter=counter))
        if fresh:
            # Nothing tells it from a wrong code, or guesses could be tried against the wider range.
            return _Verdict("code_wrong", replace(device, candidate=fresh[0]))
        return _Verdict("code_replayed" if matches else "code_wrong", forgotten)

    def update_time_drift(self, drift: float, distance: int) -> float:
        """Say where the drift is after a success. ViUR: `updateTimeDrift`, which stored it.

        Args:
            drift: In steps, as stored.
            distance: From the window's centre to the counter that was accepted.

        Returns:
            The drift, moved by a tenth of the distance, at most by `MAX_MOVE`, never beyond `MAX_DRIFT`. In a window of
            3 steps or more, distances up to 2 are taken for slow typing and move nothing, as in ViUR.
        """
        if self.window_size >= 3 and abs(distance) <= 2:
            return _cap(drift)
        return _cap(drift + max(-MAX_MOVE, min(MAX_MOVE, distance / 10)))

    # --- Enrolling ----------------------------------------------------------------------------------------------------

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        """Make a secret and show it, as QR code, as link and to be typed."""
        return self.show_enrolment({"secret": base64.b32encode(context.random_bytes(_SECRET_BYTES)).decode()}, context)

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        """Show the secret of an open enrolment again."""
        secret = str(notes["secret"])
        uri = self._key_uri(secret, context)
        return Ask(
            fields=(self.otp_field,),
            template=f"{self.name}/add.html",
            params={"uri": uri, "secret": " ".join(re.findall(".{4}", secret)), "qr": _qr_code(uri)},
            scratch={"secret": secret},
        )

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        """Judge the confirming code against the secret that we made; one sent by the client is not looked at."""
        try:
            secret = base64.b32decode(str(submission.notes["secret"]))
        except (KeyError, ValueError):
            return Rejected("ticket_invalid", Charge.NOTHING)
        if len(secret) != _SECRET_BYTES:
            return Rejected("ticket_invalid", Charge.NOTHING)
        code = _normalise(submission.get(self.otp_field.name), self.digits)
        if code is None:
            return Rejected("code_malformed", Charge.NOTHING)
        present = _counter(context.now, self.interval)
        counters = range(max(present - 1, 0), present + 2)
        codes = generate_otps(secret, counters, digits=self.digits, algorithm=self.algorithm)
        matches = [n for n, expected in zip(counters, codes, strict=True) if hmac.compare_digest(expected, code)]
        if not matches:
            return Rejected("code_wrong", Charge.FLOW)
        proof = context.prove(self)
        device = _Device(secret, self.interval, self.digits, self.algorithm, last_counter=matches[-1])
        blank = Credential(proof.subject, self.name, created_at=context.now, changed_at=context.now)
        return Enrolled(proof, _write(device, blank, context.now))

    def _key_uri(self, secret: str, context: ProviderContext) -> str:
        """Return what the QR code says (github.com/google/google-authenticator/wiki/Key-Uri-Format)."""
        issuer = self.issuer or urlsplit(context.callback_url()).hostname or ""
        account = "" if context.account is None else context.account.name[:_LABEL_LENGTH]
        label = ":".join(quote(part, safe="") for part in (issuer, account) if part)
        values = {"secret": secret, "issuer": issuer, "algorithm": self.algorithm}
        numbers = {"digits": self.digits, "period": self.interval}
        return f"otpauth://totp/{label}?{urlencode(values | numbers, quote_via=quote, safe='')}"

    # --- For operators ------------------------------------------------------------------------------------------------

    def new_hardware_token(
        self, account_id: str, *, serial: str, secret_hex: str, now: datetime, interval: int = 60, digits: int = 6,
        algorithm: str = "SHA1",
    ) -> Credential:  # fmt: skip
        """Make the credential of a token from the data that its vendor delivers. See the function of this name."""
        made = new_hardware_token(
            account_id,
            serial=serial,
            secret_hex=secret_hex,
            now=now,
            interval=interval,
            digits=digits,
            algorithm=algorithm,
        )
        return replace(made, provider=self.name)


# --- For operators ----------------------------------------------------------------------------------------------------


def new_hardware_token(
    account_id: str,
    *,
    serial: str,
    secret_hex: str,
    now: datetime,
    interval: int = 60,
    digits: int = 6,
    algorithm: str = "SHA1",
) -> Credential:
    """Make the credential of a token from the data that its vendor delivers.

    Raises:
        BadInput: The serial number or the secret is malformed, the secret is shorter than the 128 bits of RFC 4226
            (R6), or the device is of a kind that is not supported.
    """
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,63}", serial) is None:
        raise BadInput("serial: 1 to 64 letters, digits, dots, hyphens, underscores, slashes and spaces are accepted")
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}){1,128}", secret_hex) is None:
        raise BadInput("secret_hex: an even number of hexadecimal digits is needed, at most 256")
    secret = bytes.fromhex(secret_hex)
    if len(secret) < _LEAST_SECRET_BYTES:
        raise BadInput("secret_hex: at least 128 bits are needed, 32 hexadecimal digits")
    problem = _problem(interval, digits, algorithm)
    if problem:
        raise BadInput(problem)
    blank = Credential(account_id, TimeBasedOTP.name, created_at=now, changed_at=now)
    return _write(_Device(secret, interval, digits, algorithm, serial=serial), blank, now)


def generate_otps(secret: bytes, counters: Sequence[int], *, digits: int, algorithm: str) -> list[str]:
    """Return the codes of some counters (RFC 4226, section 5.3). ViUR: `generateOtps`."""
    import pyotp  # 34 ms, due at the first code and not at the start

    hotp = pyotp.HOTP(base64.b32encode(secret).decode(), digits=digits, digest=ALGORITHMS[algorithm])
    return [hotp.at(counter) for counter in counters]


# --- The device as it is stored ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Device:
    """A credential, read.

    Attributes:
        candidate: Counter of the far code that came last, waiting for the next one.
    """

    secret: bytes = field(repr=False)
    interval: int
    digits: int
    algorithm: str
    drift: float = 0.0
    last_counter: int = NOTHING_SPENT
    candidate: int | None = None
    serial: str = ""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a code is worth: a reason code, or the empty text where it is right; and the device from now on."""

    reason: str
    device: _Device


_NOBODYS_DEVICE = _Device(bytes(_SECRET_BYTES), TimeBasedOTP.interval, TimeBasedOTP.digits, TimeBasedOTP.algorithm)


def _read(credential: Credential) -> _Device | None:
    """Read a credential, or nothing where no code could be judged by it."""
    data = credential.data
    interval, digits, algorithm = data.get("interval"), data.get("digits"), data.get("algorithm")
    last_counter, candidate, drift = data.get("last_counter"), data.get("candidate"), data.get("drift")
    if not (isinstance(interval, int) and isinstance(digits, int) and isinstance(algorithm, str)):
        return None
    # Without the last counter nothing says which codes are spent.
    if not isinstance(last_counter, int) or len(credential.secret) < _LEAST_SECRET_BYTES:
        return None
    if _problem(interval, digits, algorithm):
        return None
    return _Device(
        secret=credential.secret,
        interval=interval,
        digits=digits,
        algorithm=algorithm,
        drift=_cap(float(drift)) if isinstance(drift, int | float) and math.isfinite(drift) else 0.0,
        last_counter=last_counter,
        candidate=candidate if isinstance(candidate, int) else None,
        serial=str(data.get("serial", "")),
    )


def _write(device: _Device, credential: Credential, now: datetime) -> Credential:
    data: dict[str, Plain] = {
        "interval": device.interval,
        "digits": device.digits,
        "algorithm": device.algorithm,
        "drift": device.drift,
        "last_counter": device.last_counter,
        "candidate": device.candidate,
        "serial": device.serial,
    }
    return replace(credential, data={**credential.data, **data}, secret=device.secret, changed_at=now)


def _problem(interval: int, digits: int, algorithm: str) -> str:
    """Say what is wrong with the kind of a device, or return the empty text."""
    if not 1 <= interval <= _LONGEST_INTERVAL:
        return f"interval must be 1 to {_LONGEST_INTERVAL} seconds, not {interval}"
    if not 6 <= digits <= 8:
        return f"digits must be 6 to 8, not {digits}"
    if algorithm not in ALGORITHMS:
        return f"algorithm must be one of {', '.join(ALGORITHMS)}"
    return ""


def _counter(now: datetime, interval: int) -> int:
    """Return the number of the present time step (RFC 6238, section 4.2), without a float in between."""
    return (now - _EPOCH) // timedelta(seconds=interval)


def _cap(drift: float) -> float:
    return max(-float(MAX_DRIFT), min(float(MAX_DRIFT), drift))


def _normalise(typed: str, digits: int) -> str | None:
    """Return the code without surrounding spaces, or nothing for anything but exactly that many ASCII digits.

    `str.isdigit` and pyotp's own comparison take other scripts' digits too, so that one code would have many spellings.
    """
    code = typed.strip(" ")
    return code if len(code) == digits and code.isascii() and code.isdigit() else None


def _qr_code(text: str) -> str:
    """Return a QR code as a `data:` URL, so that the secret is in no address and no cache of images."""
    import segno  # needed for enrolling only

    uri: str = segno.make_qr(text, error="l").png_data_uri(scale=5)
    return uri
