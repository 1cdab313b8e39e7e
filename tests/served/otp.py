"""One-time codes under the names that these tests know them by; see `authflow.testing.devices`."""

from authflow.testing.devices import totp, typed_secret, wrong_code

__all__ = ["totp", "typed_secret", "wrong_code"]
