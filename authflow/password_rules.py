"""What a new password must be: long enough, not known to every attacker, not the person's own name.

There are no composition rules and no expiry (NIST SP 800-63B-4, section 3.1.1.2; ASVS 6.2.5, 6.2.10), and nothing is
cut off or normalised before it is hashed (ASVS 6.2.8).
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from authflow.passwords import MAX_PASSWORD_BYTES

MIN_PASSWORD_LENGTH: Final = 8
"""In code points (ASVS 6.2.1; NIST SP 800-63B-4 where a second factor is asked for)."""

_COMMON_PASSWORDS: Final = Path(__file__).parent / "data" / "common_passwords.txt.gz"
_MAX_AFFIX: Final = 3


def check_new_password(
    password: str, *, name: str = "", context_words: Sequence[str] = (), min_length: int = MIN_PASSWORD_LENGTH
) -> str | None:
    """Say why a password cannot be chosen.

    Only for passwords that are set: whoever has an older one must still be able to log in with it.

    Args:
        password: As it was typed.
        name: What the person logs in with.
        context_words: What an attacker tries here first, such as the name of the site (ASVS 6.2.11).
        min_length: In code points. NIST SP 800-63B-4 wants 15 where the password is the only factor.

    Returns:
        None for an acceptable password, else a stable reason code: `password_malformed` (a lone surrogate or a NUL),
        `password_too_short`, `password_too_long`, `password_is_name` or `password_common`.
    """
    if "\0" in password or any("\ud800" <= character <= "\udfff" for character in password):
        return "password_malformed"
    if len(password) < min_length:
        return "password_too_short"
    if len(password.encode()) > MAX_PASSWORD_BYTES:
        return "password_too_long"
    if _is_made_of(password, (name, name.rpartition("@")[0])):
        return "password_is_name"
    if password.lower() in common_passwords() or _is_made_of(password, context_words):
        return "password_common"
    return None


@cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords, lower-cased. Read at the first use: a process that sets none does without."""
    with gzip.open(_COMMON_PASSWORDS, "rt", encoding="utf-8") as lines:
        return frozenset(line.rstrip("\n") for line in lines)


def _is_made_of(password: str, words: Sequence[str]) -> bool:
    """Whether the password is one of the words, or one reversed, with at most three digits or signs at its ends."""
    typed = password.casefold()
    for word in filter(None, (word.strip().casefold() for word in words)):
        for base in (word, word[::-1]):
            before, found, after = typed.partition(base)
            affix = before + after
            if found and len(affix) <= _MAX_AFFIX and not any(character.isalpha() for character in affix):
                return True
    return False
