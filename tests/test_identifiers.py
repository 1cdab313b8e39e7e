"""Names and addresses: what is one name, what is not, and what is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from authflow.errors import BadInput
from authflow.identifiers import MAX_NAME_BYTES, canonical_name, is_mail_address, mail_address

ASCII_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
ascii_words = st.text(ASCII_LETTERS + "ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_+", min_size=1, max_size=30)
domains = st.sampled_from(["example.org", "EXAMPLE.org", "bücher.example", "xn--bcher-kva.example", "localhost"])
# Each of these becomes ASCII under case mapping, NFC or NFKC.
look_alikes = st.sampled_from("\u212a\u017f\u0131\u0130ａｄＡ＠．ﬁ①ª")
local_parts = st.text(st.one_of(st.sampled_from("abAB."), look_alikes), min_size=1, max_size=3)
beyond_ascii = st.characters(min_codepoint=0x80, exclude_categories=["C", "Z"])


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("admin", "admin"),
        ("  Admin ", "admin"),
        ("Max Mustermann", "max mustermann"),
        ("Admin@LocalHost", "admin@localhost"),
        ("John.Doe+Tag@Example.ORG", "john.doe+tag@example.org"),
        ("a@b@Example.org", "a@b@example.org"),
        ("jürgen", "jürgen"),
        ("Jürgen", "Jürgen"),
        ("Jürgen@Example.ORG", "Jürgen@example.org"),
        ("KARL@Bücher.Example", "karl@xn--bcher-kva.example"),
        ("karl@xn--Bcher-KVA.example", "karl@xn--bcher-kva.example"),
        ("karl@faß.example", "karl@xn--fa-hia.example"),
        ("x" * 254, "x" * 254),
    ],
)
def test_a_name_has_this_key(typed: str, key: str) -> None:
    assert canonical_name(typed) == key


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "x" * 255,
        "ü" * 128,
        "@",
        "@example.org",
        "admin@",
        "ad\0min",
        "ad\nmin",
        "admin\r\n",
        "admin\t",
        "ad\x7fmin",
        "ad\x85min",
        "ad\u2028min",
        "ad\u2029min",
        "ad\u200bmin",
        "ad\u202emin",
        "admin\u00a0",
        "ad\ud800min",
        "\udcffadmin@example.org",
        "admin@ex\u3002ample.org",
        "admin@ｅxample.org",
        "admin@\u212aelvin.example",
        "admin@b\u0075\u0308cher.example",
        "admin@☃.example",
        "admin@Ü.example",
        "admin@-ü.example",
        f"a@{'ü' * 63}.example",
    ],
)
def test_a_text_is_no_name(typed: str) -> None:
    with pytest.raises(BadInput):
        canonical_name(typed)


def test_an_expanding_domain_cannot_make_a_key_longer_than_the_limit() -> None:
    typed = "x" * 200 + "@" + ".".join(["äöü"] * 7)

    assert len(typed.encode()) <= MAX_NAME_BYTES
    with pytest.raises(BadInput):
        canonical_name(typed)


@pytest.mark.parametrize(
    "look_alike",
    [
        "\u212aelly@example.org",
        "\u017fteve@example.org",
        "m\u0131ke@example.org",
        "M\u0130KE@example.org",
        "ａdmin@example.org",
        "admin＠example.org",
        "admin﹫example.org",
        "ﬁona@example.org",
        "\u212aelly",
        "ａdmin",
    ],
)
def test_a_look_alike_is_never_an_ascii_name(look_alike: str) -> None:
    assert not canonical_name(look_alike).isascii()


# Mostly what can be a name, so that few examples are thrown away; the rest is refused elsewhere in this file.
LETTERS = st.characters(exclude_categories=("C", "Z"))


@given(
    st.one_of(
        st.text(LETTERS, min_size=1, max_size=60), st.tuples(st.text(LETTERS, max_size=20), domains).map("@".join)
    )
)
def test_a_key_is_its_own_key(typed: str) -> None:
    try:
        key = canonical_name(typed)
    except BadInput:
        assume(False)

    assert canonical_name(key) == key
    assert len(key.encode()) <= MAX_NAME_BYTES


@given(st.one_of(ascii_words, st.tuples(ascii_words, domains).map("@".join)))
def test_the_case_of_ascii_makes_no_difference(typed: str) -> None:
    swapped = "".join(char.swapcase() if char.isascii() else char for char in typed)

    assert canonical_name(swapped) == canonical_name(typed)


@given(
    st.text(ASCII_LETTERS, max_size=10),
    st.one_of(look_alikes, beyond_ascii),
    st.text(ASCII_LETTERS, max_size=10),
    st.one_of(st.just(""), domains.map("@".__add__)),
)
def test_a_name_with_another_letter_equals_no_ascii_name_and_no_other_spelling(
    before: str, letter: str, after: str, domain: str
) -> None:
    typed = before + letter + after
    assume(typed.isprintable())

    local = canonical_name(typed + domain).partition("@")[0]

    assert local == typed


@given(local_parts, local_parts, domains, domains)
def test_two_addresses_with_one_key_are_one_mailbox(one: str, other: str, here: str, there: str) -> None:
    addresses = f"{one}@{here}", f"{other}@{there}"

    keys = [canonical_name(address) for address in addresses]

    same_local = one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())
    same_domain = here.lower().replace("bücher", "xn--bcher-kva") == there.lower().replace("bücher", "xn--bcher-kva")

    assert (keys[0] == keys[1]) == (same_local and same_domain)


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("admin@localhost", "admin@localhost"),
        (" John.Doe@Example.ORG ", "John.Doe@example.org"),
        ("a@shop.test", "a@shop.test"),
        ("a@printer.local", "a@printer.local"),
        ("a@example.com", "a@example.com"),
        ("Info@example.com", "Info@example.com"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("a+b=c@example.org", "a+b=c@example.org"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
    ],
)
def test_an_address_is_stored_like_this(typed: str, stored: str) -> None:
    assert mail_address(typed) == stored
    assert is_mail_address(typed)
    assert canonical_name(stored) == canonical_name(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "admin",
        "admin@host",
        "admin@localhost.",
        "admin@example.org.",
        "admin@.example.org",
        "admin@exa mple.org",
        "admin@exa_mple.org",
        "admin@-example.org",
        "admin@127.0.0.1",
        "admin@[127.0.0.1]",
        "a@b@example.org",
        ".admin@example.org",
        "ad..min@example.org",
        "ad min@example.org",
        '"ad min"@example.org',
        "admin@example.org,eve@example.org",
        "admin@example.org;eve@example.org",
        "eve@example.org, admin@example.org",
        "Admin <admin@example.org>",
        "<admin@example.org>",
        "admin@example.org (comment)",
        "admin@example.org\r\nBcc: eve@example.org",
        "admin@example.org\0",
        "admin＠example.org",
        "admin@ｅxample.org",
    ],
)
def test_a_text_is_no_mail_address(typed: str) -> None:
    with pytest.raises(BadInput):
        mail_address(typed)
    assert not is_mail_address(typed)


def test_the_error_does_not_repeat_what_was_typed() -> None:
    with pytest.raises(BadInput) as caught:
        mail_address("hunter2 secret")

    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.detail}"


def test_the_library_s_list_for_the_whole_process_is_left_alone() -> None:
    import email_validator

    before = list(email_validator.SPECIAL_USE_DOMAIN_NAMES)

    mail_address("admin@localhost")

    assert before == email_validator.SPECIAL_USE_DOMAIN_NAMES


def test_an_ascii_name_imports_no_library() -> None:
    program = (
        "import sys; from authflow.identifiers import canonical_name; canonical_name('Admin@Example.org');"
        "sys.exit(bool({'idna', 'email_validator'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
