"""A second factor of one's own by challenge and response: passkeys (Web Authentication, W3C), several of one person.

The page shows a challenge to the browser; a phone, a computer or a security key signs it after a look, a touch or a
PIN. Nothing that is stored can be used to log in, and a signature is good for this site, this flow and this step
alone.

    scripts/serve --help && .venv/bin/pip install webauthn
    AUTHFLOW_USER=examples.passkey:MyUser AUTHFLOW_TEMPLATES=examples/templates scripts/serve --host localhost

Open http://localhost:8000 then: browsers know passkeys on https and on localhost, not on 127.0.0.1.

Shown here: a challenge that is stored nowhere, values for the page (`Ask.params`), a script of one's own under the
content security policy (`page_sources`, `templates/passkey/`), a credential of several devices whose counters move,
an enrolment in several rounds.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import ClassVar
from urllib.parse import urlsplit

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.cose import COSEAlgorithmIdentifier

from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor, Plain
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
from authflow.user import User

MOST_DEVICES = 5
MAX_LENGTH = 8 * 1024
_ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
_TIMEOUT = 5 * 60 * 1000  # milliseconds, as the specification recommends where the person is verified


class Passkey(SecondFactorProvider):
    """Passkeys of phones, computers and security keys. The person is verified by the device (PIN, finger, face)."""

    name, label, factor = "passkey", "Passkey", Factor.POSSESSION
    messages: ClassVar[Mapping[str, str]] = {
        "passkey_missing": "Your browser has not used a passkey. Please try again, with JavaScript switched on.",
        "passkey_wrong": "This passkey does not belong to your account here. Please try another one.",
        "passkey_copied": "This passkey may have been copied and is not accepted. Please use another way to log in.",
        "passkey_refused": "This passkey cannot be used here. Please try another device.",
        "passkey_known": "You have added this device already. Please choose another one.",
    }
    # The script stands in the page, with the nonce of this one answer; nothing else may run.
    page_sources: ClassVar[Mapping[str, str]] = {"script-src": "'nonce'"}
    certification = "examples.kits:PasskeyHolder"

    response = Field("response", FieldType.HIDDEN, "Passkey", max_length=MAX_LENGTH)
    more = Field("more", FieldType.BOOLEAN, "I have another device to add after this one", required=False)
    enough = Field("enough", FieldType.HIDDEN, "No further device", required=False, max_length=1)

    # --- At a login ---------------------------------------------------------------------------------------------------

    def begin(self, context: ProviderContext) -> Ask:
        """Ask for a signature. No device is named, so this page tells nobody which ones an account has."""
        site = _Site(context)
        options: dict[str, Plain] = {
            "challenge": _encode(context.challenge("login")),
            "rpId": site.rp_id,
            "userVerification": "required",
            "timeout": _TIMEOUT,
        }
        return Ask((self.response,), params={"options": options})

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        sent = _read(submission.get(self.response.name))
        if sent is None:
            return Rejected("passkey_missing", Charge.NOTHING)
        devices = [] if credential is None else _devices(credential.data)
        device = next((one for one in devices if one.id == sent.id), None)
        if credential is None or device is None or not sent.is_of(credential.account_id):
            return Rejected("passkey_wrong")
        site = _Site(context)
        try:
            # Challenge, origin, site, presence and verification of the person, signature (WebAuthn, section 7.2). The
            # counter is judged below: a copied key is told from a wrong signature.
            found = verify_authentication_response(
                credential=sent.whole,
                expected_challenge=context.challenge("login"),
                expected_origin=site.origin,
                expected_rp_id=site.rp_id,
                credential_public_key=_decode(device.public_key),
                credential_current_sign_count=0,
                require_user_verification=True,
            )
        except Exception:  # Whatever the library stumbles over in what a stranger sent: it proves nothing.
            return Rejected("passkey_wrong")
        count = found.new_sign_count
        if (count or device.sign_count) and count <= device.sign_count:
            return Rejected("passkey_copied")
        if credential.data.get("spent") == _encode(context.challenge("spent")):
            # Many devices do not count. The engine takes an answer once in a flow; so does the credential.
            return Rejected("passkey_wrong", Charge.FLOW)
        used = [replace(one, sign_count=count) if one is device else one for one in devices]
        data = {**_data(used), "spent": _encode(context.challenge("spent"))}
        return Verified(context.prove(self), replace(credential, data=data, changed_at=context.now))

    def can_handle(self, credential: Credential) -> bool:
        return bool(_devices(credential.data))

    # --- Adding: with these, people do it by themselves -------------------------------------------------------------

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return self.show_enrolment(_data([]), context)

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        """Ask the browser to make a passkey, not one that was added in a round before."""
        devices, site, account = _devices(notes), _Site(context), context.account
        name = account.name if account is not None else ""
        options: dict[str, Plain] = {
            "challenge": _encode(_round(devices, context)),
            "rp": {"id": site.rp_id, "name": site.rp_id},
            # A random id, which says nothing about the person (WebAuthn, section 14.6.1).
            "user": {"id": _encode((account.id if account else "").encode()), "name": name, "displayName": name},
            "pubKeyCredParams": [{"type": "public-key", "alg": int(one)} for one in _ALGORITHMS],
            "excludeCredentials": [{"type": "public-key", "id": one.id} for one in devices],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
            "timeout": _TIMEOUT,
        }
        fields = (self.response, *((self.more,) if len(devices) + 1 < MOST_DEVICES else ()))
        params: dict[str, Plain] = {"options": options, "count": len(devices)}
        return Ask(fields, params=params, scratch=_data(devices))

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        devices = _devices(submission.notes)
        if submission.get(self.enough.name) == "1" and devices:
            return self._enrolled(devices, context)
        sent, site = _read(submission.get(self.response.name)), _Site(context)
        if sent is None:
            return Rejected("passkey_missing", Charge.NOTHING)
        try:
            # WebAuthn, section 7.1.
            made = verify_registration_response(
                credential=sent.whole,
                expected_challenge=_round(devices, context),
                expected_origin=site.origin,
                expected_rp_id=site.rp_id,
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
        except Exception:  # As above.
            return Rejected("passkey_refused", Charge.FLOW)
        key = _encode(made.credential_public_key)
        device = _Device(_encode(made.credential_id), key, made.sign_count, context.now.isoformat())
        if any(one.id == device.id for one in devices):
            return Rejected("passkey_known", Charge.FLOW)
        devices = [*devices, device]
        if submission.get(self.more.name) in ("1", "true", "on") and len(devices) < MOST_DEVICES:
            return self.show_enrolment(_data(devices), context)
        return self._enrolled(devices, context)

    def _enrolled(self, devices: Sequence[_Device], context: ProviderContext) -> Enrolled:
        proof = context.prove(self)
        return Enrolled(proof, Credential(proof.subject, self.name, context.now, context.now, data=_data(devices)))


@dataclass(frozen=True, slots=True)
class _Device:
    """One passkey, as it is stored: nothing of it is secret."""

    id: str
    public_key: str
    sign_count: int
    added_at: str

    @staticmethod
    def read(kept: Plain) -> _Device | None:
        if not isinstance(kept, Mapping):
            return None
        id_, key, count, since = (kept.get(name) for name in ("id", "public_key", "sign_count", "added_at"))
        if not (isinstance(id_, str) and isinstance(key, str) and isinstance(count, int)):
            return None
        return _Device(id_, key, count, str(since))

    def to_data(self) -> dict[str, Plain]:
        return {
            "id": self.id,
            "public_key": self.public_key,
            "sign_count": self.sign_count,
            "added_at": self.added_at,
        }


class _Site:
    """What browsers sign for: where this provider is answered says it, never the request."""

    def __init__(self, context: ProviderContext) -> None:
        address = urlsplit(context.callback_url())
        self.origin = f"{address.scheme}://{address.netloc}"
        self.rp_id = address.hostname or ""


class _Sent:
    """What the browser's answer says of itself before it is verified."""

    def __init__(self, whole: dict[str, object]) -> None:
        self.whole = whole
        self.id = str(whole["id"])
        response = whole["response"]
        handle = response.get("userHandle") if isinstance(response, dict) else None
        self.user_handle = handle if isinstance(handle, str) else ""

    def is_of(self, account_id: str) -> bool:
        """Whether it names this account, or none: the key that it is verified by is this account's in any case."""
        return not self.user_handle or compare_digest(self.user_handle.encode(), _encode(account_id.encode()).encode())


def _read(text: str) -> _Sent | None:
    """Read what the script has sent, or nothing where it is not the answer of a browser on a page of our own."""
    if not text or len(text) > MAX_LENGTH or not text.isascii():
        return None
    try:
        whole = json.loads(text)
        client = json.loads(_decode(whole["response"]["clientDataJSON"]))
        is_whole = isinstance(whole["id"], str) and whole["id"].isascii() and isinstance(client, dict)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    # A page of somebody else that shows ours in a frame would say so (WebAuthn, section 5.8.1).
    if not is_whole or client.get("crossOrigin") not in (None, False) or "topOrigin" in client:
        return None
    return _Sent(whole)


def _round(devices: Sequence[_Device], context: ProviderContext) -> bytes:
    """Return the challenge of this round: one for each device."""
    return context.challenge(f"enrolment {len(devices)}")


def _data(devices: Sequence[_Device]) -> dict[str, Plain]:
    return {"devices": [device.to_data() for device in devices]}


def _devices(kept: Mapping[str, Plain]) -> list[_Device]:
    """Read the devices of a credential, or of an open enrolment. What could not be judged is none."""
    found = kept.get("devices")
    return [device for one in found if (device := _Device.read(one))] if isinstance(found, list) else []


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError("not a text")
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


class MyUser(User):
    """The stock user module, with passkeys after a password."""

    second_factor_providers = (*User.second_factor_providers, Passkey)
    valid_authentication_methods = (*User.valid_authentication_methods, ("user_password", Passkey))
