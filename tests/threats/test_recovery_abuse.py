"""Recovery and verification are the other doors to an account (abuse cases 36 to 50 and 52 to 60)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from authflow.mail.protocol import MailUnavailable
from authflow.model import Status
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.throttle import Limits, SlidingWindow
from authflow.user import User
from providers.user_password import UserPassword
from tests.threats.tools import Open, enrol, recovery_link, who

BOB = "bob@example.org"
NEW = "another long password"
RECOVER = "/user/auth_userpassword/pwrecover"
VERIFY = "/user/auth_userpassword/verify"
SETUP = "/user/auth_userpassword/setup"


async def ask(site: Site, name: str, **more) -> Page:
    person = site.person(**more)
    return await person.send((await person.get(RECOVER)).form(), name=name)


async def register(site: Site, name: str = BOB) -> str:
    """Register somebody and return the address that the mail brings."""
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/add")).form(), name=name, password=NEW)
    await site.run_tasks()
    return site.link()


async def finish(site: Site, link: str, password: str = NEW, person: Person | None = None) -> Page:
    person = person or site.person()
    return await person.send((await person.get(link)).form(), password=password)


async def can_log_in(site: Site, password: str, name: str = ADA) -> bool:
    return (await site.person(address="203.0.113.1").log_in(name, password)).status == 303


# --- Who gets the mail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ada@example.org\u200b", "\u0430da@example.org", "ada@ex\u0430mple.org", "ada@example.org,eve@evil.example",
        "ada@example.org;eve@evil.example", "ada@example.org eve@evil.example", "Eve <ada@example.org>",
        '"ada@example.org"@evil.example', "ada@example.org\n", "ada@example.org\x00@evil.example",
        "ada@EXAMPLE\u3002org",
        "ada\uff20example.org", "\u00e4da@example.org", "a\u0307da@example.org", "ada+x@example.org",
        "ada@example.org.",
    ],
)  # fmt: skip
async def test_a_name_that_looks_like_another_brings_nobody_a_mail(site: Site, name: str) -> None:
    """Abuse case 36: the key of a look-alike goes to whoever typed it."""
    await site.account()

    page = await ask(site, name)
    await site.run_tasks()

    assert page.status in (303, 400)
    # A folding that leads to the stored account writes to the stored address and to no other.
    assert {mail.to for mail in site.outbox.mails} <= {ADA}
    assert not any("evil" in mail.text or "evil" in mail.to for mail in site.outbox.mails)


@pytest.mark.parametrize("name", ["ADA@example.org", " ada@EXAMPLE.org "])
async def test_mail_goes_to_the_stored_address(site: Site, name: str) -> None:
    """Abuse case 36: what was typed is used for looking up, not for writing to."""
    await site.account()

    await ask(site, name)
    await site.run_tasks()

    assert [mail.to for mail in site.outbox.mails] == [ADA]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"}, {"x-forwarded-host": "evil.example"}, {"forwarded": "host=evil.example"},
        {"x-host": "evil.example"}, {"x-original-url": "https://evil.example/"}, {"referer": "https://evil.example/"},
        {"x-forwarded-proto": "https", "x-forwarded-server": "evil.example"}, {"user-agent": "https://evil.example/"},
    ],
)  # fmt: skip
async def test_links_in_mails_lead_to_us_whatever_the_request_calls_itself(site: Site, headers: dict) -> None:
    """Abuse case 37: a header names another host, and the owner's click brings the key there."""
    await site.account()
    person = site.person(headers=headers)

    await person.send((await person.get(RECOVER)).form(), name=ADA)
    await person.send((await person.get("/user/auth_userpassword/add")).form(), name=BOB, password=NEW)
    await site.run_tasks()

    assert len(site.outbox.mails) == 2
    for mail in site.outbox.mails:
        assert "evil.example" not in mail.text
        assert "evil.example" not in (mail.html or "")
        assert site.app.settings.base_url in mail.text


@pytest.mark.parametrize("size", [0, 1, 16_000])
async def test_any_name_of_the_browser_is_taken(site: Site, size: int) -> None:
    """Abuse case 54: no user agent, or one of 16 KiB, breaks the request or the mail."""
    await site.account()
    headers = {"user-agent": "M\x7f" * (size // 2)} if size else {}

    page = await ask(site, ADA, headers=headers)
    await site.run_tasks()

    assert page.status == 303
    assert len(site.outbox.mails) == 1


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "%0d%0a", "\u2028", "\x0b", "\x85"])
@pytest.mark.parametrize("where", ["name", "firstname", "user-agent"])
async def test_nothing_typed_makes_a_header_of_a_mail(site: Site, break_: str, where: str) -> None:
    """Abuse case 55: a line break in an address, a name or the user agent begins a header of its own."""
    text = f"x{break_}Bcc: eve@evil.example"
    person = site.person(headers={"user-agent": text} if where == "user-agent" else {})
    values = {"name": BOB, "password": NEW, "firstname": "Bob"}
    if where != "user-agent":
        values[where] = text if where == "firstname" else f"bob@example.org{break_}Bcc: eve@evil.example"

    await person.send((await person.get("/user/auth_userpassword/add")).form(), **values)
    await person.send((await person.get(RECOVER)).form(), name=values["name"])
    await site.run_tasks()

    for mail in site.outbox.mails:
        assert mail.to == BOB
        assert "\n" not in mail.subject
        assert "evil.example" not in mail.subject + mail.to


async def test_nothing_typed_is_markup_in_a_mail(site: Site) -> None:
    """Abuse case 56: markup and template code in what a stranger typed."""
    canary = "<img src=x>{{7191*7193}}{% raw %}${7191*7193}"
    person = site.person(headers={"user-agent": canary})

    await person.send(
        (await person.get("/user/auth_userpassword/add")).form(), name=BOB, password=NEW, firstname=canary
    )
    await person.send((await person.get(RECOVER)).form(), name=BOB)
    await site.account()
    await person.send((await person.get(RECOVER)).form(), name=ADA)
    await site.run_tasks()

    assert len(site.outbox.mails) == 2
    for mail in site.outbox.mails:
        assert "<img src=x>" not in (mail.html or "")
        assert str(7191 * 7193) not in mail.text + (mail.html or "")


@pytest.mark.parametrize("path", [RECOVER, "/user/auth_userpassword/resend"])
async def test_nobody_is_flooded_with_mails(site: Site, path: str) -> None:
    """Abuse case 53: fifty requests for one name, from fifty addresses."""
    await site.account(status=Status.ACTIVE if path == RECOVER else Status.WAITING_FOR_EMAIL_VERIFICATION)

    for n in range(50):
        person = site.person(address=f"198.51.100.{n}")
        await person.send((await person.get(path)).form(), name=ADA)
    await site.run_tasks()

    assert len(site.outbox.mails) == 1


async def test_registering_again_and_again_floods_nobody(site: Site) -> None:
    """Abuse case 53: the notice to the owner of a taken name is a mail as well."""
    await site.account()

    for n in range(20):
        person = site.person(address=f"198.51.100.{n}")
        await person.send((await person.get("/user/auth_userpassword/add")).form(), name=ADA, password=NEW)
    await site.run_tasks()

    assert len(site.outbox.mails) == 1


async def test_one_client_asks_ten_times_in_a_quarter_of_an_hour(site: Site) -> None:
    """Abuse case 53: one client goes through a list of names."""
    person = site.person()
    form = (await person.get(RECOVER)).form()

    statuses = [(await person.send(form, name=f"{n}@example.org")).status for n in range(14)]

    assert statuses == [303] * 10 + [429] * 4


async def test_a_mail_server_that_is_down_is_not_seen_from_outside(site: Site) -> None:
    """Abuse case 52: the error of sending tells that there was somebody to write to."""
    await site.account()

    async def fail(mail) -> None:
        raise MailUnavailable("down")

    working = site.outbox.send
    site.outbox.send = fail
    pages = [await ask(site, name) for name in (ADA, "nobody@example.org")]
    await site.run_tasks()
    site.outbox.send = working
    site.clock.pass_by(timedelta(minutes=5))
    await site.run_tasks()

    assert [page.status for page in pages] == [303, 303]
    assert len(site.outbox.mails) == 1


# --- What a ticket is good for ----------------------------------------------------------------------------------------


async def test_of_thirty_parallel_uses_of_a_key_one_sets_the_password(site: Site) -> None:
    """Abuse case 38: the key is checked by all before it is spent by the first."""
    await site.account()
    link = await recovery_link(site)
    people = [site.person(address=f"198.51.100.{n}") for n in range(30)]
    forms = [(await person.get(link)).form() for person in people]

    pages = await asyncio.gather(
        *(
            person.send(form, password=f"another long password {n}")
            for n, (person, form) in enumerate(zip(people, forms, strict=True))
        )
    )

    assert [page.status for page in pages].count(200) == 1
    assert {page.status for page in pages} <= {200, 412, 503}
    works = [await can_log_in(site, f"another long password {n}") for n in range(30) if pages[n].status == 200]
    assert works == [True]


async def test_sibling_keys_die_with_the_one_that_was_used() -> None:
    """Abuse case 39: an older mail, or a younger one, is found later."""

    class Generous(Open):
        limits = Limits(recovery_mail_per_name=SlidingWindow(10, timedelta(minutes=15)))

    site = await make_site(Generous())
    await site.account()
    links = [await recovery_link(site) for _ in range(3)]
    await finish(site, links[1])

    assert len(set(links)) == 3
    for link in links:
        assert (await finish(site, link, "a third long password")).status == 412
    assert await can_log_in(site, NEW)


@pytest.mark.parametrize("change", ["password", "disabled", "factor", "everywhere", "deleted"])
async def test_a_key_dies_with_every_change_of_its_account(site: Site, change: str) -> None:
    """Abuse case 41: the key was made under other circumstances."""
    await site.account()
    link = await recovery_link(site)
    match change:
        case "password":
            await site.app.administration.set_password(ADA, "a third long password")
        case "disabled":
            await site.app.administration.deactivate(ADA)
            await site.app.administration.activate(ADA)
        case "factor":
            await enrol(site, await site.logged_in())
        case "everywhere":
            await site.app.administration.log_out(ADA)
        case "deleted":
            await site.app.administration.delete(ADA)

    page = await finish(site, link)

    assert page.status == 412


async def test_a_key_of_one_purpose_opens_no_other_door(site: Site) -> None:
    """Abuse case 42: the tokens of recovery, verification and set-up are tried at each other's pages."""
    await site.account()
    await site.account("eve@example.org", password=None)
    keys = {
        RECOVER: (await recovery_link(site)).partition("=")[2],
        VERIFY: (await register(site)).partition("=")[2],
        SETUP: (await site.app.administration.setup_link("eve@example.org")).partition("=")[2],
    }
    fields = {RECOVER: "recovery_key", VERIFY: "skey", SETUP: "setup_key"}
    before = await site.kit.records("account")

    for source, key in keys.items():
        for path in keys:
            if path != source:
                person = site.person(address="198.51.100.9")
                values = {"skey": await person.skey(), fields[path]: key, "password": "a third long password"}
                page = await person.post(path, values)
                assert page.status == 412, (source, path)
                site.clock.pass_by(timedelta(seconds=1))

    assert await site.kit.records("account") == before


@pytest.mark.parametrize("field", ["name", "email", "key", "user", "account_id", "id", "username"])
async def test_no_further_field_chooses_whose_password_is_set(site: Site, field: str) -> None:
    """Abuse case 43: the own key, with the name of somebody else."""
    await site.account(ADA)
    await site.account(BOB)
    link = await recovery_link(site, BOB)
    person = site.person()
    form = (await person.get(link)).form()

    await person.post(form.action, {**form.values, "password": NEW, field: ADA})

    assert not await can_log_in(site, NEW, ADA)
    assert await can_log_in(site, PASSWORD, ADA)


async def test_a_key_with_another_account_in_it_is_nothing(site: Site) -> None:
    """Abuse case 43: the part of the key that names the account is exchanged."""
    ada = await site.account(ADA)
    await site.account(BOB)
    key = (await recovery_link(site, BOB)).partition("recovery_key=")[2]
    forged = ada.id + "." + key.partition(".")[2]

    page = await finish(site, f"{RECOVER}?recovery_key={forged}")

    assert page.status == 412
    assert await can_log_in(site, PASSWORD, ADA)


@pytest.mark.parametrize(
    "body",
    [
        b'{"recovery_key":{"$ne":""},"password":"another long password"}',
        b'{"recovery_key":["a"],"password":"another long password"}',
        b'{"recovery_key":null,"password":"another long password"}',
        b'{"recovery_key":true,"password":"another long password"}',
        b'{"recovery_key":"x","recovery_key":"y","password":"another long password"}',
        b'{"recovery_key.x":"y","password":"another long password"}',
        b'[{"recovery_key":"x"}]',
    ],
)
async def test_a_key_is_text_and_nothing_else(site: Site, body: bytes) -> None:
    """Abuse cases 44 and 94: objects, lists, truth values and doubled names where text is due."""
    await site.account()
    await recovery_link(site)
    person = site.person()
    key = (await person.get("/json/skey")).json.encode()
    body = body.replace(b"{", b'{"skey":"' + key + b'",', 1) if body.startswith(b"{") else body
    before = await site.kit.records("account")

    page = await person.request(
        "POST", "/json/user/auth_userpassword/pwrecover", body=body, headers={"content-type": "application/json"}
    )

    assert 400 <= page.status < 500
    assert await site.kit.records("account") == before


@pytest.mark.parametrize("key", ["", " ", "null", "None", "0", "undefined", ".", "a.", ".b", "\x00", "%00", "true"])
async def test_a_key_that_is_nothing_matches_nothing(site: Site, key: str) -> None:
    """Abuse case 45: a blank key finds the accounts that have none."""
    await site.account()
    await site.account(BOB, password=None)
    person = site.person()
    before = await site.kit.records("account")

    for path, field in ((RECOVER, "recovery_key"), (RECOVER, "recoveryKey"), (SETUP, "setup_key")):
        values = {"skey": await person.skey(), field: key, "password": NEW}
        page = await person.post(path, values)
        assert 400 <= page.status < 500
    assert 400 <= (await person.post(VERIFY, {"skey": key})).status < 500

    assert await site.kit.records("account") == before


# --- What a ticket does not change ------------------------------------------------------------------------------------


async def test_an_old_verification_does_not_let_a_disabled_account_in_again(site: Site) -> None:
    """Abuse case 46: the link of the registration is clicked after the account was shut out."""
    link = await register(site)
    await site.app.administration.deactivate(BOB)
    person = site.person()

    page = await person.send((await person.get(link)).form())

    assert page.status == 412
    assert not await can_log_in(site, NEW, BOB)


async def test_verifying_does_not_skip_an_administrator() -> None:
    """Abuse case 47: the link is used twice, the second time for the administrator's step."""

    class Both(UserPassword):
        registration_enabled = True

    class Strict(User):
        authentication_providers = (Both,)

    site = await make_site(Strict())
    link = await register(site)
    person = site.person()
    form = (await person.get(link)).form()

    first, second = await person.send(form), await person.send(form)

    assert [first.status, second.status] == [200, 412]
    assert not await can_log_in(site, NEW, BOB)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_looking_at_a_link_does_not_use_it(site: Site, method: str) -> None:
    """Abuse cases 49 and 50: scanners, previews and prefetching follow every link of a mail."""
    await site.account()
    recover, verify = await recovery_link(site), await register(site)
    before = dict(site.kit.memory._rows)

    for link in (recover, verify):
        for _ in range(5):
            page = await site.person().request(method, link)
            assert page.status == 200
            assert page.header("referrer-policy") == "no-referrer"
            assert page.header("cache-control") == "no-store"

    assert site.kit.memory._rows == before
    person = site.person()
    assert (await person.send((await person.get(verify)).form())).status == 200
    assert (await finish(site, recover)).status == 200


async def test_a_page_with_a_key_loads_nothing_from_elsewhere(site: Site) -> None:
    """Abuse case 49: the address of the page goes out with a picture or a style."""
    await site.account()

    page = await site.person().get(await recovery_link(site))

    assert "http" not in page.text.replace("http-equiv", "")


@pytest.mark.parametrize(
    "status", [Status.WAITING_FOR_EMAIL_VERIFICATION, Status.WAITING_FOR_ADMIN_VERIFICATION, Status.DISABLED]
)
async def test_recovery_moves_no_account_on(site: Site, status: Status) -> None:
    """Abuse case 58: a new password makes an account active that was not."""
    account = await site.account(status=status)

    page = await ask(site, ADA)
    await site.run_tasks()

    assert page.status == 303
    assert not site.outbox.mails
    assert (await site.kit.account_now(account)).status == status


async def test_asking_for_a_key_changes_nothing_for_the_owner(site: Site) -> None:
    """Abuse case 60: anybody can keep somebody out by asking for a recovery."""
    await site.account()
    owner = await site.logged_in()

    for n in range(15):
        await ask(site, ADA, address=f"198.51.100.{n}")
    await site.run_tasks()

    assert await who(owner) == ADA
    assert await can_log_in(site, PASSWORD)


async def test_an_account_without_a_password_gets_one_only_through_its_mailbox_and_hears_of_it(site: Site) -> None:
    """Abuse case 59: a password comes into being silently beside another way to log in."""
    await site.account(password=None)

    page = await finish(site, await recovery_link(site))
    await site.run_tasks()

    assert page.status == 200
    assert [mail.to for mail in site.outbox.mails] == [ADA, ADA]
    assert "password" in site.outbox.last().subject.lower()


@pytest.mark.parametrize("password", ["", " ", PASSWORD])
async def test_an_account_without_a_password_cannot_log_in_with_any(site: Site, password: str) -> None:
    """Abuse case 110: no hash is taken for the hash of nothing."""
    await site.account(password=None)

    page = await site.person().log_in(password=password)

    assert page.status in (200, 400)


@pytest.mark.parametrize(("minutes", "status"), [(14, 200), (15, 412), (60, 412)])
async def test_a_key_lives_for_fifteen_minutes(site: Site, minutes: int, status: int) -> None:
    """Abuse case 41: an old mail in a mailbox that somebody else reads."""
    await site.account()
    link = await recovery_link(site)
    site.clock.pass_by(timedelta(minutes=minutes))

    assert (await finish(site, link)).status == status


async def test_bad_keys_are_counted_on_their_sender(site: Site) -> None:
    """Abuse case 45: keys are guessed."""
    person = site.person()
    statuses = []
    for n in range(14):
        values = {"skey": await person.skey(), "recovery_key": f"someone.{n:043}", "password": NEW}
        statuses.append((await person.post(RECOVER, values)).status)

    assert statuses == [412] * 10 + [429] * 4
