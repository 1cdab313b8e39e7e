"""Declarations: what is accepted, and that a bad one is refused when the app is built."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from authflow.errors import ConfigurationError
from authflow.policy import CONSENT, TICKET
from authflow.provider import Ask, PrimaryProvider, Rejected, SecondFactorProvider
from authflow.registry import Registry, import_object, resolve


class Password(PrimaryProvider):
    name, label = "password", "Password"

    def begin(self, context):
        return Ask(())

    async def answer(self, credential, submission, context):
        return Rejected("no")


class Code(SecondFactorProvider):
    name, label = "code", "Code"

    def begin(self, context):
        return Ask(())

    async def answer(self, credential, submission, context):
        return Rejected("no")

    def begin_enrolment(self, context):
        return Ask(())

    async def answer_enrolment(self, submission, context):
        return Rejected("no")


class Printed(Code):
    name, path, method_name, is_substitute = "printed", "f2_printed", "X-Printed", True


class Elsewhere(Password):
    """Offered only where its setting is there."""

    name, path, method_name = "elsewhere", "auth_elsewhere", "X-Elsewhere"

    def configure(self, environment):
        return "elsewhere_id" in environment


PAIRS = (("password", "code"), ("password", None))


def registry(primaries=(Password,), seconds=(Code,), methods=PAIRS, **environment: str) -> Registry:
    return Registry(primaries, seconds, methods, environment=environment)


# --- What is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [Password, Password(), "tests.test_registry:Password"])
def test_a_provider_is_declared_by_class_object_or_dotted_path(spec) -> None:
    assert registry(primaries=(spec,)).get("password").label == "Password"


def test_an_object_is_taken_as_it_is() -> None:
    mine = Password()

    assert registry(primaries=(mine,)).primaries[0] is mine


def test_a_provider_is_declared_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "mine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[authflow.providers]\nmine = tests.test_registry:Password\nbroken = no_such_package:Password\n"
        "[other.group]\nforeign = tests.test_registry:Password\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    assert resolve("mine").name == "password"
    for name in ("broken", "foreign", "unheard_of"):
        with pytest.raises(ConfigurationError):
            resolve(name)


@pytest.mark.parametrize("pair", [(Password, Code), ("tests.test_registry:Password", "code"), ("password", Code)])
def test_a_pair_names_providers_by_name_class_or_path(pair) -> None:
    assert registry(methods=(pair,)).rules.pairs == (("password", "code"),)


def test_path_and_method_name_follow_the_class_as_in_viur() -> None:
    assert (Password.path, Password.method_name) == ("auth_password", "X-VIUR-AUTH-Password")
    assert (Code.path, Code.method_name) == ("f2_code", "X-VIUR-2FACTOR-Code")


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ((Password,), "(Password,) is not a pair: write (Password, None) for a login with one step"),
        (("password",), "('password',) is not a pair: write ('password', None) for a login with one step"),
        (Password, "Password is not a pair: write (Password, None) for a login with one step"),
        ("password", "'password' is not a pair: write ('password', None) for a login with one step"),
        ((Password, Code, None), "(Password, Code, None) is not a pair"),
        ([Password, Code], "[Password, Code] is not a pair"),
        (5, "5 is not a pair"),
    ],
)
def test_what_is_no_pair_is_told_how_one_is_written(method, said) -> None:
    with pytest.raises(ConfigurationError) as raised:
        registry(methods=(method,))

    assert raised.value.detail == f"valid_authentication_methods: {said}"


def test_rules_are_what_the_pairs_and_powers_say() -> None:
    pairs = (*PAIRS, ("password", "printed"))
    rules = registry(seconds=(Code, Printed), methods=pairs).rules

    assert rules.pairs == pairs
    assert rules.second_factors == ("code", "printed")
    assert rules.substitutes == {"printed"}
    assert rules.enrollable == {"code", "printed"}
    assert (rules.primaries, rules.seconds_of("password")) == (("password",), ("code", "printed"))


def test_a_provider_without_its_setting_is_left_out_with_its_pairs() -> None:
    methods = (*PAIRS, ("elsewhere", None))

    without = registry(primaries=(Password, Elsewhere), methods=methods)
    with_it = registry(primaries=(Password, Elsewhere), methods=methods, elsewhere_id="x")

    assert without.get("elsewhere") is None
    assert without.by_path("auth_elsewhere") is None
    assert "elsewhere" in without.declared, "its credentials are still known of"
    assert without.rules.pairs == PAIRS
    assert with_it.rules.pairs == methods
    assert with_it.by_path("auth_elsewhere").name == "elsewhere"


# --- What is refused --------------------------------------------------------------------------------------------------


def spoilt(base: type, **attributes) -> type:
    return type("Spoilt", (base,), attributes)


class Unfinished(PrimaryProvider):
    name, label = "unfinished", "Unfinished"

    async def answer(self, credential, submission, context):
        return Rejected("no")


class Mute(PrimaryProvider):
    name, label = "mute", "Mute"

    def begin(self, context):
        return Ask(())


class NeedsArguments(Password):
    def __init__(self, realm: str) -> None:
        self.realm = realm


def answers_at_once(self, credential, submission, context):
    return Rejected("no")


def identifies_at_once(self, submission, context):
    return None


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("tests.test_registry:Nothing", "cannot be imported"),
        ("no_such_package.module:Password", "cannot be imported"),
        (":Password", "cannot be imported"),
        ("tests.test_registry:PAIRS", "not a provider class"),
        ("builtins:dict", "not a provider class"),
        ("unheard_of", "entry point"),
        (dict, "not a provider class"),
        (NeedsArguments, "without arguments"),
        (Code, "no PrimaryProvider"),
        (Unfinished, "how to begin"),
        (Mute, "how to answer"),
        (spoilt(Password, answer=answers_at_once), "answer must be an async"),
        (spoilt(Password, identify=identifies_at_once), "identify must be an async"),
        (spoilt(Password, name=""), "name"),
        (spoilt(Password, name="Two Words"), "name"),
        (spoilt(Password, name="p" * 41), "name"),
        (spoilt(Password, name=TICKET), "name"),
        (spoilt(Password, name=CONSENT), "name"),
        (spoilt(Password, label=""), "label"),
        (spoilt(Password, path="a/b"), "path"),
        (spoilt(Password, path="Auth"), "path"),
        (spoilt(Password, action="../x"), "action"),
        (spoilt(Password, action=""), "action"),
    ],
)
def test_a_bad_provider_is_refused_with_its_reason(spec, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        registry(primaries=(spec,))


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (spoilt(Password, path="x", method_name="X"), "name"),
        (spoilt(Password, name="other", method_name="X"), "path"),
        (spoilt(Password, name="other", path="x"), "method_name"),
    ],
)
def test_two_providers_share_no_name_path_or_method_name(other: type, word: str) -> None:
    with pytest.raises(ConfigurationError, match=f"same {word}"):
        registry(primaries=(Password, other))


def test_a_primary_and_a_second_factor_share_no_name() -> None:
    with pytest.raises(ConfigurationError, match="same name"):
        registry(seconds=(spoilt(Code, name="password"),))


@pytest.mark.parametrize(
    "method",
    ["password", ("password",), ("password", None, None), ["password", None]],
)
def test_a_method_is_a_pair(method) -> None:
    with pytest.raises(ConfigurationError, match="not a pair"):
        registry(methods=(method,))


@pytest.mark.parametrize("pair", [("code", None), ("google", None), ("password", "password"), ("password", "key")])
def test_a_pair_names_declared_providers_in_their_places(pair) -> None:
    with pytest.raises(ConfigurationError, match="is not among"):
        registry(methods=(*PAIRS, pair))


@pytest.mark.parametrize(
    ("primaries", "methods"), [((Password,), ()), ((Elsewhere,), (("elsewhere", None),)), ((), ())]
)
def test_an_application_without_a_way_in_is_refused(primaries, methods) -> None:
    with pytest.raises(ConfigurationError, match="no way to log in"):
        registry(primaries=primaries, methods=methods)


def test_importing_an_object_needs_a_module_and_a_name() -> None:
    assert import_object("tests.test_registry:PAIRS") is PAIRS
    for path in ("tests.test_registry", "tests.test_registry:", "", "..:x"):
        with pytest.raises(ConfigurationError):
            import_object(path)


def test_a_subclass_of_a_stock_provider_keeps_its_name_and_path() -> None:
    class Mine(Password):
        greeting: ClassVar[str] = "hello"

    assert registry(primaries=(Mine,)).by_path("auth_password").greeting == "hello"
