"""Keys that sign ID tokens, honest ones and others (RFC 7519, OpenID Connect Core 1.0)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


def base64url(raw: bytes) -> str:
    """Encode as tokens do: without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class SigningKey:
    """An RSA key with the certificate that an issuer would publish for it.

    Args:
        kid: The key's id.
    """

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kid)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=14))
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def signature(self, text: bytes) -> bytes:
        """Sign some bytes (RS256)."""
        return self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())

    def token(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Sign claims; what the header says wins over what an honest one would say, and None leaves a name out."""
        parts = {"alg": "RS256", "kid": self.kid, "typ": "JWT", **(header or {})}
        honest = {name: value for name, value in parts.items() if value is not None}
        return self.token_of(json.dumps(honest).encode(), json.dumps(dict(claims)).encode())

    def token_of(self, header: bytes, claims: bytes) -> str:
        """Sign two texts as they are."""
        text = f"{base64url(header)}.{base64url(claims)}"
        return f"{text}.{base64url(self.signature(text.encode()))}"
