"""Keys and what is made with them: RFC 5869's vectors first, then purposes, rotation, and garbage."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.errors import ConfigurationError
from authflow.tokens import BadToken, Keyring, decode, digest, encode, hkdf_sha256, new_id, new_secret

OLD, NEW = "an old master key, long enough to be", "a new master key, long enough to be one"
RING = Keyring((NEW,))


@pytest.mark.parametrize(
    ("master", "salt", "info", "length", "derived"),
    [
        # RFC 5869, appendix A.1 to A.3
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            42,
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(0x50)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            82,
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b" * 22,
            "",
            "",
            42,
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_keys_derive_as_the_standard_says(master: str, salt: str, info: str, length: int, derived: str) -> None:
    made = hkdf_sha256(bytes.fromhex(master), salt=bytes.fromhex(salt), info=bytes.fromhex(info), length=length)

    assert made.hex() == derived


@pytest.mark.parametrize("masters", [(), ("",), ("short",), (NEW, "short")])
def test_a_missing_or_short_key_is_refused_without_being_shown(masters: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="AUTHFLOW_SECRET_KEYS") as refusal:
        Keyring(masters)

    assert "short" not in str(refusal.value)


def test_repr_shows_no_key() -> None:
    assert repr(Keyring((NEW, OLD))) == "Keyring(2 keys)"


def test_secrets_have_256_bits_and_ids_128() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", new_secret())
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", new_id())
    assert len({new_id() for _ in range(1000)}) == 1000


def test_a_secret_is_known_by_its_sha_256() -> None:
    assert digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest("\ud800") != digest("\ud801"), "no text makes it fail"


# --- Signatures -------------------------------------------------------------------------------------------------------


def test_what_was_signed_is_read_back_under_its_purpose_alone() -> None:
    signed = RING.signer("session").sign("text.with.dots")

    assert RING.signer("session").unsign(signed) == "text.with.dots"
    assert RING.signer("device").unsign(signed) is None


def test_old_keys_verify_and_the_newest_signs() -> None:
    before, both, after = Keyring((OLD,)), Keyring((NEW, OLD)), Keyring((NEW,))

    assert both.signer("p").unsign(before.signer("p").sign("x")) == "x"
    assert after.signer("p").unsign(both.signer("p").sign("x")) == "x"
    assert after.signer("p").unsign(before.signer("p").sign("x")) is None


@given(st.text(alphabet=st.characters(), max_size=60))
def test_garbage_is_no_signed_text(text: str) -> None:
    assert RING.signer("p").unsign(text) is None
    assert RING.signer("p").unsign(text + "\ud800.x") is None


@given(st.text(max_size=20), st.data())
def test_one_changed_character_breaks_a_signature(text: str, data: st.DataObject) -> None:
    signed = RING.signer("p").sign(text)
    place = data.draw(st.integers(0, len(signed) - 2))
    other = "A" if signed[place] != "A" else "B"

    assert RING.signer("p").unsign(signed[:place] + other + signed[place + 1 :]) is None


# --- Keyed digests ----------------------------------------------------------------------------------------------------


def test_a_keyed_digest_depends_on_key_purpose_and_message() -> None:
    made = {
        RING.mac("a", b"m"),
        RING.mac("b", b"m"),
        RING.mac("a", b"n"),
        Keyring((OLD,)).mac("a", b"m"),
    }

    assert len(made) == 4
    assert {len(mac) for mac in made} == {32}


def test_digests_of_every_key_are_given_the_newest_first() -> None:
    both = Keyring((NEW, OLD))

    assert both.macs("a", b"m") == (Keyring((NEW,)).mac("a", b"m"), Keyring((OLD,)).mac("a", b"m"))
    assert both.mac("a", b"m") == both.macs("a", b"m")[0]
    assert both.key_count == 2


def test_the_digest_of_any_text_is_a_name_for_records() -> None:
    for text in ("", "\ud800", "\0", "x" * 10_000):
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", RING.mac_text("p", text))


# --- Encryption -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=100), st.text(alphabet=st.characters(codec="utf-8"), max_size=20))
def test_what_was_encrypted_is_read_back_in_its_place(plain: bytes, context: str) -> None:
    assert RING.decrypt("p", RING.encrypt("p", plain, context=context), context=context) == plain


def test_a_ciphertext_is_bound_to_purpose_place_and_key() -> None:
    text = RING.encrypt("p", b"secret", context="here")

    for ring, purpose, context in ((RING, "p", "there"), (RING, "q", "here"), (Keyring((OLD,)), "p", "here")):
        with pytest.raises(BadToken):
            ring.decrypt(purpose, text, context=context)


def test_the_same_text_is_never_encrypted_alike() -> None:
    made = {RING.encrypt("p", b"secret", context="here") for _ in range(100)}

    assert len(made) == 100
    assert not any("secret" in text or encode(b"secret") in text for text in made)


def test_old_keys_decrypt_and_it_shows_which_text_is_old() -> None:
    both, text = Keyring((NEW, OLD)), Keyring((OLD,)).encrypt("p", b"secret", context="c")

    assert both.decrypt("p", text, context="c") == b"secret"
    assert not both.is_newest("p", text)
    assert both.is_newest("p", both.encrypt("p", b"", context="c"))


@given(st.text(max_size=60))
def test_garbage_is_no_ciphertext(garbage: str) -> None:
    name = RING.encrypt("p", b"", context="c").partition(".")[0]

    for text in (garbage, f"{name}.{garbage}", f"{name}.", name):
        with pytest.raises(BadToken):
            RING.decrypt("p", text, context="c")


@given(st.data())
def test_one_flipped_bit_breaks_a_ciphertext(data: st.DataObject) -> None:
    name, _, rest = RING.encrypt("p", b"secret", context="c").partition(".")
    raw = bytearray(decode(rest))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(BadToken):
        RING.decrypt("p", f"{name}.{encode(bytes(raw))}", context="c")


@given(st.binary(max_size=50))
def test_base64_without_padding_is_read_back(raw: bytes) -> None:
    assert decode(encode(raw)) == raw
    assert "=" not in encode(raw)
