"""ID tokens by the keys of a key set: only the right key, of the right kind and strength, opens the door.

The tables follow what Project Wycheproof tries on RSA and ECDSA: signatures that are nearly right, and keys that are.
"""

from __future__ import annotations

import base64
import hmac
import json
import string
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authflow.errors import ContractViolation, FetchFailed
from authflow.id_tokens import IdTokenRefused, read_id_token
from authflow.provider import IdTokenRefused as Refused
from authflow.testing import START

ISSUER, AUDIENCE = "https://issuer.example.org", "web"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PRIME = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int, length: int = 0) -> str:
    return base64url(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def twin(text: str) -> str:
    """Return another spelling of the same octets: the last character of 256 of them has four bits to spare."""
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


@cache
def rsa_key(bits: int = 2048, exponent: int = 65537, which: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


@cache
def p256_key(which: int = 0) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(key: rsa.RSAPrivateKey | None = None, **changes: Any) -> dict[str, Any]:
    numbers = (key or rsa_key()).public_key().public_numbers()
    whole = {"kid": "k", "kty": "RSA", "use": "sig", "alg": "RS256", "n": number(numbers.n), "e": number(numbers.e)}
    return _changed(whole, changes)


def p256_jwk(key: ec.EllipticCurvePrivateKey | None = None, **changes: Any) -> dict[str, Any]:
    numbers = (key or p256_key()).public_key().public_numbers()
    point = {"x": number(numbers.x, 32), "y": number(numbers.y, 32)}
    return _changed({"kid": "k", "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", **point}, changes)


def _changed(whole: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (whole | changes).items() if value is not None}


def text_to_sign(algorithm: str, **header: Any) -> bytes:
    now = int(START.timestamp())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "1", "iat": now, "exp": now + 600}
    parts = ({"alg": algorithm, "kid": "k", **header}, claims)
    return ".".join(base64url(json.dumps(part).encode()) for part in parts).encode()


def by_rsa(text: bytes, key: rsa.RSAPrivateKey | None = None) -> bytes:
    return (key or rsa_key()).sign(text, padding.PKCS1v15(), hashes.SHA256())


def by_p256(text: bytes, key: ec.EllipticCurvePrivateKey | None = None) -> bytes:
    r, s = decode_dss_signature((key or p256_key()).sign(text, ec.ECDSA(hashes.SHA256())))
    return raw(r, s)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def token(text: bytes, signature: bytes) -> str:
    return f"{text.decode()}.{base64url(signature)}"


class Publishing:
    """Serves what an issuer publishes; what it publishes later comes when it is asked freshly."""

    def __init__(self, published: Any, later: Any = None) -> None:
        self.answers = [published, published if later is None else later]
        self.asked: list[bool] = []

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Any]:
        self.asked.append(fresh)
        return self.answers[fresh]

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Any]:
        raise AssertionError("nothing is posted to read a token")


async def read(issuer: Publishing, one: str, algorithm: str = "RS256") -> Mapping[str, Any]:
    return await read_id_token(
        one, fetching=issuer, certs_url="https://issuer.example.org/jwks", issuers=frozenset({ISSUER}),
        audience=AUDIENCE, now=START, algorithm=algorithm,
    )  # fmt: skip


async def refusal(issuer: Publishing, one: str, algorithm: str = "RS256") -> str:
    with pytest.raises(IdTokenRefused) as caught:
        await read(issuer, one, algorithm)
    return caught.value.code


def good(algorithm: str = "RS256") -> str:
    text = text_to_sign(algorithm)
    return token(text, by_rsa(text) if algorithm == "RS256" else by_p256(text))


# --- What is believed -------------------------------------------------------------------------------------------------


async def test_a_token_by_a_key_of_the_set_is_read() -> None:
    assert (await read(Publishing({"keys": [rsa_jwk()]}), good()))["sub"] == "1"
    assert (await read(Publishing({"keys": [p256_jwk()]}), good("ES256"), "ES256"))["sub"] == "1"


@pytest.mark.parametrize("left_out", ["use", "alg"])
async def test_what_a_key_need_not_say_may_be_missing(left_out) -> None:
    assert await read(Publishing({"keys": [rsa_jwk(**{left_out: None})]}), good())
    assert await read(Publishing({"keys": [p256_jwk(**{left_out: None})]}), good("ES256"), "ES256")


async def test_keys_of_other_kinds_and_names_are_passed_over() -> None:
    others = [
        {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA"},
        {"kty": "unheard of"},
        {},
        rsa_jwk(kid="other"),
        rsa_jwk(use="enc"),
        p256_jwk(),
    ]

    assert await read(Publishing({"keys": [*others, rsa_jwk(x5c=["ignored"])]}), good())


async def test_a_key_that_is_new_is_asked_for_once() -> None:
    issuer = Publishing({"keys": [rsa_jwk(kid="old")]}, later={"keys": [rsa_jwk()]})

    assert await read(issuer, good())
    assert issuer.asked == [False, True]


@pytest.mark.parametrize("bits", [2048, 3072])
async def test_long_keys_are_taken(bits) -> None:
    key, text = rsa_key(bits), text_to_sign("RS256")

    assert await read(Publishing({"keys": [rsa_jwk(key)]}), token(text, by_rsa(text, key)))


# --- Which key --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        rsa_jwk(kid="other"),
        rsa_jwk(kid=None),
        rsa_jwk(kid=["k"]),
        rsa_jwk(use="enc"),
        rsa_jwk(use=1),
        rsa_jwk(alg="PS256"),
        rsa_jwk(alg="RS512"),
        rsa_jwk(alg="none"),
        rsa_jwk(kty="rsa"),
        rsa_jwk(kty="oct"),
        rsa_jwk(kty=None),
        rsa_jwk(key_ops=["encrypt"]),
        rsa_jwk(key_ops=[]),
        rsa_jwk(key_ops="verify"),
        {"kty": "oct", "kid": "k", "alg": "RS256", "k": "c2VjcmV0"},
        p256_jwk(alg=None),
    ],
)
async def test_a_key_that_is_not_for_this_is_not_used(key) -> None:
    assert await refusal(Publishing({"keys": [key]}), good()) == "id_token_unknown_key"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize(
    "says",
    ["none", "None", "", "HS256", "HS512", "PS256", "RS384", "RS512", "ES384", "ES256K", "EdDSA", None, ["RS256"]],
)
async def test_the_token_does_not_choose_its_algorithm(algorithm, says) -> None:
    issuer, text = Publishing({"keys": [rsa_jwk(), p256_jwk()]}), text_to_sign(algorithm, alg=says)
    signature = by_rsa(text) if algorithm == "RS256" else by_p256(text)

    assert await refusal(issuer, token(text, signature), algorithm) == "id_token_algorithm"
    assert issuer.asked == []


async def test_one_issuer_signs_by_one_algorithm() -> None:
    issuer = Publishing({"keys": [rsa_jwk(), p256_jwk()]})

    assert await refusal(issuer, good("ES256"), "RS256") == "id_token_algorithm"
    assert await refusal(issuer, good("RS256"), "ES256") == "id_token_algorithm"


async def test_an_algorithm_that_is_not_known_is_a_fault_of_the_provider() -> None:
    for unknown in ("none", "HS256", "PS256", ""):
        with pytest.raises(ContractViolation):
            await read(Publishing({"keys": [rsa_jwk()]}), good(), unknown)


@pytest.mark.parametrize("brought", ["jwk", "jku", "x5u", "x5c"])
async def test_a_key_that_the_token_brings_is_not_used(brought) -> None:
    own = rsa_key(which=1)
    text = text_to_sign("RS256", **{brought: rsa_jwk(own)})

    assert await refusal(Publishing({"keys": [rsa_jwk()]}), token(text, by_rsa(text, own))) == "id_token_signature"


async def test_two_keys_of_one_name_are_no_keys() -> None:
    with pytest.raises(FetchFailed):
        await read(Publishing({"keys": [rsa_jwk(rsa_key(which=1)), rsa_jwk()]}), good())


@pytest.mark.parametrize(
    "published",
    [
        {"keys": []},
        {"keys": {}},
        {"keys": "k"},
        {"keys": None},
        {"keys": [rsa_jwk(), "k"]},
        {"keys": [None]},
        {"keys": {"k": rsa_jwk()}},
        {},
        {"k": rsa_jwk()},
        {"error": "unavailable"},
        rsa_jwk(),
    ],
)
async def test_what_is_published_must_be_a_key_set(published) -> None:
    with pytest.raises(FetchFailed) as caught:
        await read(Publishing(published), good())

    assert caught.value.status == 503


# --- Keys that are nearly keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"n": None},
        {"e": None},
        {"n": ""},
        {"n": 1},
        {"n": ["AQAB"]},
        {"n": rsa_jwk()["n"] + "="},
        {"n": rsa_jwk()["n"] + "A" * 3},
        {"n": rsa_jwk()["n"][:-2] + "é"},
        {"n": "+/" + rsa_jwk()["n"][2:]},
        {"n": twin(rsa_jwk()["n"])},
        {"n": "A" * 100_000},
        {"n": number(2**2048)},
        {"n": number(2**1023 + 1)},
        {"n": number(2**8193 + 1)},
        {"n": rsa_jwk(rsa_key(1024))["n"]},
        {"e": "AA"},
        {"e": "AQ"},
        {"e": number(2)},
        {"e": number(3)},
        {"e": number(17)},
        {"e": number(65536)},
        {"e": number(65538)},
        {"e": number(2**64 + 1)},
        {"e": rsa_jwk()["n"]},
        {"d": "AQAB"},
        {"p": "AQAB"},
        {"k": "c2VjcmV0"},
    ],
)
async def test_a_key_that_is_malformed_weak_or_private_is_none(changes) -> None:
    with pytest.raises(FetchFailed):
        await read(Publishing({"keys": [rsa_jwk(**changes)]}), good())


@pytest.mark.parametrize("exponent", [3])
async def test_a_small_exponent_is_refused_although_the_signature_fits(exponent) -> None:
    key, text = rsa_key(exponent=exponent), text_to_sign("RS256")

    with pytest.raises(FetchFailed):
        await read(Publishing({"keys": [rsa_jwk(key)]}), token(text, by_rsa(text, key)))


@pytest.mark.parametrize("bits", [1024])
async def test_a_short_key_is_refused_although_the_signature_fits(bits) -> None:
    key, text = rsa_key(bits), text_to_sign("RS256")

    with pytest.raises(FetchFailed):
        await read(Publishing({"keys": [rsa_jwk(key)]}), token(text, by_rsa(text, key)))


def point() -> ec.EllipticCurvePublicNumbers:
    return p256_key().public_key().public_numbers()


@pytest.mark.parametrize(
    "changes",
    [
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": "p-256"},
        {"crv": None},
        {"x": None},
        {"y": None},
        {"x": 1},
        {"x": number(0, 32), "y": number(0, 32)},
        {"y": number(point().y ^ 1, 32)},
        {"x": number(PRIME, 32)},
        {"x": number(point().x, 33)},
        {"y": number(point().y, 33)},
        {"x": number(point().x, 32)[:-2]},
        {"x": p256_jwk()["y"], "y": p256_jwk()["x"]},
        {"d": "AQAB"},
    ],
)
async def test_what_is_no_point_of_the_curve_is_no_key(changes) -> None:
    with pytest.raises(FetchFailed):
        await read(Publishing({"keys": [p256_jwk(**changes)]}), good("ES256"), "ES256")


# --- Signatures that are nearly signatures ----------------------------------------------------------------------------


def another_scheme(text: bytes, scheme: str) -> bytes:
    key = rsa_key()
    match scheme:
        case "PSS":
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
            return key.sign(text, pss, hashes.SHA256())
        case "SHA-1":
            return key.sign(text, padding.PKCS1v15(), hashes.SHA1())
        case "SHA-512":
            return key.sign(text, padding.PKCS1v15(), hashes.SHA512())
    return rsa_key(which=1).sign(text, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("scheme", ["PSS", "SHA-1", "SHA-512", "another key"])
async def test_a_signature_of_another_scheme_is_refused(scheme) -> None:
    text = text_to_sign("RS256")

    one = token(text, another_scheme(text, scheme))

    assert await refusal(Publishing({"keys": [rsa_jwk()]}), one) == "id_token_signature"


def padded(text: bytes, kind: str) -> bytes:
    """Sign, with the bare private key, a block that PKCS #1 v1.5 (RFC 8017, section 9.2) does not make."""
    hashed = hashes.Hash(hashes.SHA256())
    hashed.update(text)
    digest = hashed.finalize()
    head = bytes.fromhex("3031300d060960864801650304020105000420")
    blocks = {
        "as it must be": b"\x00\x01" + b"\xff" * 202 + b"\x00" + head + digest,
        "short padding and a tail": b"\x00\x01" + b"\xff" * 8 + b"\x00" + head + digest + bytes(194),
        "padding of zeros": b"\x00\x01" + b"\x00" * 203 + head + digest,
        "block type 2": b"\x00\x02" + b"\xff" * 202 + b"\x00" + head + digest,
        "no algorithm": b"\x00\x01" + b"\xff" * 221 + b"\x00" + digest,
    }
    numbers = rsa_key().private_numbers()
    modulus = numbers.public_numbers.n
    return pow(int.from_bytes(blocks[kind], "big"), numbers.d, modulus).to_bytes(256, "big")


@pytest.mark.parametrize("kind", ["short padding and a tail", "padding of zeros", "block type 2", "no algorithm"])
async def test_a_block_that_is_padded_otherwise_is_refused(kind) -> None:
    text, issuer = text_to_sign("RS256"), Publishing({"keys": [rsa_jwk()]})

    assert await read(issuer, token(text, padded(text, "as it must be")))
    assert await refusal(issuer, token(text, padded(text, kind))) == "id_token_signature"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s[:-1],
        lambda s: s[1:],
        lambda s: b"\x00" + s,
        lambda s: s + b"\x00",
        lambda s: s[::-1],
        lambda s: bytes(256),
        lambda s: (1).to_bytes(256, "big"),
        lambda s: (int.from_bytes(s, "big") + rsa_key().public_key().public_numbers().n).to_bytes(257, "big"),
        lambda s: (rsa_key().public_key().public_numbers().n - 1).to_bytes(256, "big"),
        lambda s: (rsa_key().public_key().public_numbers().n).to_bytes(256, "big"),
        lambda s: bytes([s[0] ^ 1]) + s[1:],
    ],
)
async def test_an_rsa_signature_that_is_nearly_right_is_refused(spoil) -> None:
    text = text_to_sign("RS256")

    one = token(text, spoil(by_rsa(text)))

    assert await refusal(Publishing({"keys": [rsa_jwk()]}), one) == "id_token_signature"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r, s: raw(0, 0),
        lambda r, s: raw(0, s),
        lambda r, s: raw(r, 0),
        lambda r, s: raw(1, 1),
        lambda r, s: raw(ORDER, s),
        lambda r, s: raw(r, ORDER),
        lambda r, s: raw(ORDER, ORDER),
        lambda r, s: raw(ORDER - 1, ORDER - 1),
        lambda r, s: raw(PRIME, PRIME),
        lambda r, s: raw(s, r),
        lambda r, s: raw(r, s)[:-1],
        lambda r, s: raw(r, s)[1:],
        lambda r, s: raw(r, s) + b"\x00",
        lambda r, s: b"\x00" + raw(r, s),
        lambda r, s: raw(r, s)[:32] + b"\x00" + raw(r, s)[32:],
        lambda r, s: raw(r, s) * 2,
        lambda r, s: raw(r, s ^ 1),
        lambda r, s: p256_key().sign(text_to_sign("ES256"), ec.ECDSA(hashes.SHA256())),
        lambda r, s: p256_key().sign(text_to_sign("ES256"), ec.ECDSA(hashes.SHA256()))[:64],
        lambda r, s: by_p256(text_to_sign("ES256"), p256_key(1)),
        lambda r, s: by_p256(b"another text"),
    ],
)
async def test_a_p256_signature_that_is_nearly_right_is_refused(spoil) -> None:
    text = text_to_sign("ES256")
    found = by_p256(text)
    r, s = int.from_bytes(found[:32], "big"), int.from_bytes(found[32:], "big")

    one = token(text, spoil(r, s))

    assert await refusal(Publishing({"keys": [p256_jwk()]}), one, "ES256") == "id_token_signature"


async def test_the_public_key_is_no_shared_secret() -> None:
    jwk = rsa_jwk()
    for secret in (jwk["n"].encode(), json.dumps(jwk).encode(), base64.urlsafe_b64decode(jwk["n"] + "==")):
        for says in ("HS256", "RS256"):
            text = text_to_sign(says)
            code = await refusal(Publishing({"keys": [jwk]}), token(text, hmac.digest(secret, text, "sha256")))
            assert code == ("id_token_algorithm" if says == "HS256" else "id_token_signature")


async def test_a_refusal_quotes_nothing() -> None:
    with pytest.raises(Refused) as caught:
        await read(Publishing({"keys": [rsa_jwk(rsa_key(which=1))]}), good())

    assert good().split(".")[1] not in str(caught.value)
    assert caught.value.__cause__ is None
