"""The local Google under the names that these tests know it by; see `authflow.testing.google`."""

from authflow.testing.google import ISSUER, OUTAGES, GoogleIssuer
from authflow.testing.serve_google import main
from authflow.testing.signing import SigningKey, base64url

__all__ = ["ISSUER", "OUTAGES", "GoogleIssuer", "SigningKey", "base64url", "main"]

if __name__ == "__main__":
    main()
