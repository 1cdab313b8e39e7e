"""A second factor of the shop's own: a signature by the SSH key of a till.

Challenge and response: the page shows a text that belongs to this one login, and whoever has the private key signs it.

    printf %s TEXT | ssh-keygen -Y sign -n bookshop -f ~/.ssh/id_ed25519

Nothing that the shop stores can be used to log in, and a signature that was seen once is worth nothing again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from typing import ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authflow.fields import Field
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

NAMESPACE = "bookshop"
KIND = b"ssh-ed25519"

_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_FRAME = re.compile(r"-----(BEGIN|END) SSH SIGNATURE-----|\s")


class SshKey(SecondFactorProvider):
    """Signatures by an Ed25519 key, as `ssh-keygen -Y sign` makes them."""

    name, label, factor = "ssh_key", "SSH key", Factor.POSSESSION
    messages: ClassVar[Mapping[str, str]] = {
        "signature_wrong": "This is not a signature of that text by your key.",
        "key_malformed": "This is not the public part of an Ed25519 key. It begins with ssh-ed25519.",
    }

    signature = Field("signature", label="Signature", max_length=2000)
    public_key = Field("public_key", label="Public key", max_length=500, help="What your file id_ed25519.pub holds.")

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((self.signature,), params={"text": _text("login", context), "namespace": NAMESPACE})

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        key = _key(str(credential.data["public_key"])) if credential is not None else None
        if key is None or not _has_signed(key, _text("login", context), submission.get("signature")):
            return Rejected("signature_wrong")
        return Verified(context.prove(self))

    # --- With these, people add the factor by themselves --------------------------------------------------------------

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return self.show_enrolment({}, context)

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        params = {"text": _text("enrolment", context), "namespace": NAMESPACE}
        return Ask((self.public_key, self.signature), template="ssh_key/add.html", params=params)

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        line = submission.get("public_key").strip()
        key = _key(line)
        if key is None:
            return Rejected("key_malformed", Charge.NOTHING)
        if not _has_signed(key, _text("enrolment", context), submission.get("signature")):
            return Rejected("signature_wrong", Charge.FLOW)
        proof = context.prove(self)
        kept = {"public_key": " ".join(line.split()[:2])}
        return Enrolled(proof, Credential(proof.subject, self.name, context.now, context.now, data=kept))


def _text(purpose: str, context: ProviderContext) -> str:
    """Return what is to be signed: bound to this flow and step, and to what the signature is for."""
    return f"{NAMESPACE}-{purpose}-{context.challenge(purpose).hex()}"


# --- OpenSSH's formats ------------------------------------------------------------------------------------------------


def _key(line: str) -> Ed25519PublicKey | None:
    """Read a line of an `id_ed25519.pub` (RFC 8709, section 4)."""
    words = line.split()
    try:
        kind, raw = _strings(base64.b64decode(words[1], validate=True))
        if words[0].encode() == kind == KIND:
            return Ed25519PublicKey.from_public_bytes(raw)
    except (IndexError, ValueError, struct.error):
        pass
    return None


def _has_signed(key: Ed25519PublicKey, text: str, armoured: str) -> bool:
    """Check a signature (OpenSSH, PROTOCOL.sshsig) by a key; the one that the signature brings along is not used."""
    try:
        blob = base64.b64decode(_FRAME.sub("", armoured), validate=True)
        if blob[:10] != b"SSHSIG" + struct.pack(">I", 1):
            return False
        _, namespace, reserved, hash_name, signature = _strings(blob[10:])
        kind, raw = _strings(signature)
        digest = _HASHES[hash_name](text.encode()).digest()
        if namespace != NAMESPACE.encode() or kind != KIND:
            return False
        key.verify(raw, b"SSHSIG" + b"".join(map(_string, (namespace, reserved, hash_name, digest))))
    except (InvalidSignature, KeyError, ValueError, struct.error):
        return False
    return True


def _strings(blob: bytes) -> Iterator[bytes]:
    """Take apart strings that lie one behind the other, each led by its length (RFC 4251, section 5)."""
    while blob:
        (length,) = struct.unpack_from(">I", blob)
        if length > len(blob) - 4:
            raise ValueError("cut short")
        yield blob[4 : 4 + length]
        blob = blob[4 + length :]


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
