"""The provider contract carries all four shapes: forms, challenge-response, redirect and out-of-band messages."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from authflow.context import derived_code
from authflow.errors import FlowInvalid, Unavailable
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor, Identity
from authflow.provider import (
    Ask,
    CredentialId,
    Delivery,
    Identifier,
    PrimaryProvider,
    Redirect,
    Rejected,
    SecondFactorProvider,
    Subject,
    Verified,
)
from authflow.records import credential_id_key, identity_key
from authflow.results import Away, LoggedIn, NotProved, StepOwed
from authflow.store.protocol import Insert
from authflow.testing import browser, make_kit
from authflow.user import User

CODE = Field("code", FieldType.CODE, "Code")


class SecurityKey(PrimaryProvider):
    """Like a passkey: signs a challenge, and the account is found from the answer."""

    name, label, factor = "security_key", "Security key", Factor.POSSESSION

    def begin(self, context):
        return Ask((Field("credential"), Field("signature")), params={"challenge": context.challenge().hex()})

    async def identify(self, submission, context):
        return CredentialId(submission.get("credential"))

    async def answer(self, credential, submission, context):
        key = bytes.fromhex(str(credential.data["key"])) if credential else b"nobody"
        expected = hmac.digest(key, context.challenge(), "sha256").hex()
        if credential is None or not hmac.compare_digest(expected, submission.get("signature")):
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


class RemoteParty(PrimaryProvider):
    """Like OpenID Connect with a code: away by redirect, back by GET, the subject known after an exchange."""

    name, label, factor = "remote_party", "Elsewhere", Factor.FEDERATED
    issuer = "https://issuer.test"

    def begin(self, context):
        return Redirect(f"{self.issuer}/authorize?nonce={context.challenge('nonce').hex()}", scratch={"seen": 1})

    async def identify(self, submission, context):
        claims = await context.fetching.post_form(f"{self.issuer}/token", {"code": submission.get("code")})
        return Subject(self.issuer, str(claims["sub"]), claims)

    async def answer(self, credential, submission, context):
        if submission.evidence.get("nonce") != context.challenge("nonce").hex() or submission.notes != {"seen": 1}:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self)) if context.account else Rejected("invalid_credentials")


class MailedCode(SecondFactorProvider):
    """A code that is sent out of band; neither the store nor the task's payload holds it."""

    name, label = "mailed_code", "Code by mail"

    def begin(self, context):
        return Ask((CODE,), delivery=Delivery("code"))

    async def answer(self, credential, submission, context):
        if not hmac.compare_digest(context.code().encode(), submission.get("code").encode()):
            return Rejected("code_wrong")
        return Verified(context.prove(self))


class MailedLogin(PrimaryProvider):
    """The same as a first step, in two submissions of one travelling flow."""

    name, label, factor = "mailed_login", "Code by mail", Factor.MAILBOX

    def begin(self, context):
        return Ask((Field("name"),))

    async def identify(self, submission, context):
        return Identifier(str(submission.notes.get("name") or submission.get("name")))

    async def answer(self, credential, submission, context):
        if "name" not in submission.notes:
            return Ask((CODE,), scratch={"name": submission.get("name")}, delivery=Delivery("code"))
        if not hmac.compare_digest(context.code().encode(), submission.get("code").encode()):
            return Rejected("code_wrong")
        return Verified(context.prove(self)) if context.account else Rejected("code_wrong")


class AllShapes(User):
    authentication_providers = ("providers.user_password:UserPassword", SecurityKey, RemoteParty, MailedLogin)
    second_factor_providers = (MailedCode,)
    valid_authentication_methods = (
        ("user_password", "mailed_code"),
        ("security_key", None),
        ("remote_party", None),
        ("mailed_login", None),
    )


class RemoteServer:
    """Answers the exchange of a code as the remote party would."""

    def __init__(self) -> None:
        self.claims: Mapping = {}

    async def get_json(self, url, *, fresh=False):
        raise AssertionError("not asked for")

    async def post_form(self, url, values):
        return self.claims if values["code"] == "right" else {"sub": "nobody"}


@pytest.fixture
def remote() -> RemoteServer:
    return RemoteServer()


@pytest.fixture
def kit(remote):
    return make_kit(AllShapes(), fetching=remote)


async def account_with_key(kit):
    account, now = await kit.account(), kit.clock()
    credential = Credential(account.id, "security_key", now, now, {"key": "aa" * 16})
    found = Insert(credential_id_key("security_key", "key-1"), {"account_id": account.id})
    await kit.memory.commit((kit.credential_write(credential), found))
    return account


def signed(kit, flow, key: str = "aa" * 16) -> str:
    ask = kit.engine.ask(flow, kit.provider("security_key"))
    return hmac.digest(bytes.fromhex(key), bytes.fromhex(ask.params["challenge"]), "sha256").hex()


async def test_challenge_response_finds_the_account_from_the_answer(kit) -> None:
    account = await account_with_key(kit)
    flow = kit.engine.start()
    values = {"credential": "key-1", "signature": signed(kit, flow)}

    reference = kit.engine.reference(flow, browser())
    result = await kit.engine.submit(kit.provider("security_key"), values, browser(), flow_reference=reference)

    assert isinstance(result, LoggedIn)
    assert result.account.id == account.id


async def test_an_answer_to_the_challenge_of_another_flow_proves_nothing(kit) -> None:
    await account_with_key(kit)
    values = {"credential": "key-1", "signature": signed(kit, kit.engine.start())}

    reference = kit.engine.reference(kit.engine.start(), browser())
    result = await kit.engine.submit(kit.provider("security_key"), values, browser(), flow_reference=reference)

    assert isinstance(result, NotProved)


async def away(kit):
    """Go to the remote party as the browser would; return the state and the nonce it takes there."""
    from authflow.commits import sent_away

    flow, provider = kit.engine.start(return_to="/there"), kit.provider("remote_party")
    redirect = kit.engine.ask(flow, provider)
    address = kit.engine.sealer.with_state(redirect.url, sent_away(kit.engine, flow, provider, redirect), "browser-1")
    query = parse_qs(urlsplit(address).query)
    return query["state"][0], query["nonce"][0]


async def test_a_redirect_comes_back_by_get_with_its_flow_in_the_state(kit, remote) -> None:
    account = await kit.account()
    identity = Identity(RemoteParty.issuer, "remote-1", account.id, kit.clock())
    await kit.memory.commit((Insert(identity_key(identity.issuer, identity.subject), identity.to_data()),))
    state, nonce = await away(kit)
    remote.claims = {"sub": "remote-1", "nonce": nonce}

    back = {"code": "right", "state": state}
    result = await kit.engine.submit(kit.provider("remote_party"), back, browser(), flow_reference=state, by_get=True)

    assert isinstance(result, LoggedIn)
    assert (result.account.id, result.flow.return_to) == (account.id, "/there")


async def test_a_state_is_good_in_the_browser_that_left_alone(kit, remote) -> None:
    await kit.account()
    state, nonce = await away(kit)
    remote.claims = {"sub": "remote-1", "nonce": nonce}

    with pytest.raises(FlowInvalid):
        await kit.engine.submit(
            kit.provider("remote_party"),
            {"code": "right"},
            browser(browser_id="somebody-else"),
            flow_reference=state,
            by_get=True,
        )


async def test_a_message_goes_out_with_the_commit_that_opens_its_step(kit) -> None:
    account = await kit.account()
    await kit.enrolled(account, Credential(account.id, "mailed_code", kit.clock(), kit.clock()))

    pending = await kit.login()

    assert isinstance(pending, StepOwed)
    assert pending.provider.name == "mailed_code"
    (task,) = await kit.records("outbox")
    payload = task.data["payload"]
    assert payload["account_id"] == account.id
    keyring = kit.engine.services.keyring
    place = (payload["flow_id"], payload["step"], payload["provider"], account.id)
    code = derived_code(keyring, *place, payload["digits"])
    assert code not in repr(task)
    assert code not in repr(await kit.records("session"))
    visitor = browser(pending.session, account.id)
    assert isinstance(await kit.engine.submit(kit.provider("mailed_code"), {"code": code}, visitor), LoggedIn)


@pytest.mark.parametrize("name", ["ada@example.org", "nobody@example.org"])
async def test_a_message_as_first_step_looks_the_same_for_unknown_names(kit, name) -> None:
    account = await kit.account()
    provider = kit.provider("mailed_login")

    asked = await kit.engine.submit(provider, {"name": name}, browser())

    assert isinstance(asked, StepOwed)
    assert [field.name for field in asked.ask.fields] == ["code"]
    assert len(await kit.records("outbox")) == 1
    code = derived_code(kit.engine.services.keyring, asked.flow.id, 0, provider.name, account.id, 6)
    reference = kit.engine.reference(asked.flow, browser())
    assert name not in reference
    done = await kit.engine.submit(provider, {"code": code}, browser(), flow_reference=reference)
    assert isinstance(done, LoggedIn if name.startswith("ada") else NotProved)


async def test_a_code_that_was_mailed_to_one_person_logs_nobody_else_in(kit) -> None:
    await kit.account("ada@example.org")
    eve = await kit.account("eve@example.org")
    provider = kit.provider("mailed_login")
    sealed = kit.engine.reference(kit.engine.start(), browser())
    hers = await kit.engine.submit(provider, {"name": eve.name}, browser(), flow_reference=sealed)
    code = derived_code(kit.engine.services.keyring, hers.flow.id, 0, provider.name, eve.id, 6)

    other = await kit.engine.submit(provider, {"name": "ada@example.org"}, browser(), flow_reference=sealed)
    reference = kit.engine.reference(other.flow, browser())
    result = await kit.engine.submit(provider, {"code": code}, browser(), flow_reference=reference)

    assert isinstance(result, NotProved)


async def test_a_provider_that_breaks_lets_nobody_in(kit) -> None:
    class Broken(SecurityKey):
        async def answer(self, credential, submission, context):
            raise KeyError("secret detail")

    await account_with_key(kit)
    flow = kit.engine.start()
    values = {"credential": "key-1", "signature": signed(kit, flow)}

    with pytest.raises(Exception) as caught:
        await kit.engine.submit(Broken(), values, browser(), flow_reference=kit.engine.reference(flow, browser()))

    assert caught.value.status in (500, Unavailable.status)
    assert await kit.records("session") == []


async def test_a_remote_party_adds_nothing_to_a_flow_by_going_away(kit) -> None:
    flow, provider = kit.engine.start(), kit.provider("remote_party")
    result = kit.engine.ask(flow, provider)

    assert isinstance(result, Redirect)
    assert not isinstance(result, Away)
    assert flow.proofs == ()


class Badge(PrimaryProvider):
    """A first step whose stored secret may be of a form that is not taken any more."""

    name, label = "badge", "Badge"

    def begin(self, context):
        return Ask((Field("name"), Field("pin")))

    async def identify(self, submission, context):
        return Identifier(submission.get("name"))

    def can_handle(self, credential):
        return len(credential.secret) >= 6

    async def answer(self, credential, submission, context):
        if credential is None or not hmac.compare_digest(credential.secret, submission.get("pin").encode()):
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


class Badges(User):
    authentication_providers = (Badge,)
    second_factor_providers = ()
    valid_authentication_methods = ((Badge, None),)


@pytest.mark.parametrize(("secret", "result"), [(b"123456", LoggedIn), (b"1", NotProved)])
async def test_a_first_step_is_not_handed_a_credential_that_it_cannot_handle(secret, result):
    kit = make_kit(Badges())
    account, now = await kit.account(password=None), kit.clock()
    await kit.memory.commit((kit.credential_write(Credential(account.id, "badge", now, now, {}, secret)),))

    answer = await kit.engine.submit(kit.provider("badge"), {"name": account.name, "pin": secret.decode()}, browser())

    assert isinstance(answer, result)
