"""The mails that the worker sends: recovery, verification, notices, codes. It alone mints tokens and knows addresses.

Payloads hold ids and names. Mail goes to the address that is stored, never to one that was typed. Whether somebody is
written to at all is decided here, out of sight of who asked. A task that is repeated after a crash mints the same
token, finds its ticket in place, and sends the same mail under the same Message-ID.

A verification mail is about one attempt to register, tells when and from what device that was, and its link activates
what that attempt chose (see `registration`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from authflow import tickets
from authflow.context import derived_code
from authflow.errors import StoreConflict, StoreUnavailable
from authflow.mail import Mail, MailRefused, MailTransport, MailUnavailable
from authflow.model import Account, Purpose, Status
from authflow.records import attempt_key, login_info_key, name_key, newest_attempt_key, spent_key
from authflow.recovery import RECOVERY_TASK
from authflow.render import Renderer
from authflow.store.protocol import Delete, Insert, Key, Update, Write
from authflow.tasks.protocol import Handler, Task, TaskFailed
from authflow.throttle import Bucket, bucket_key
from authflow.tickets import Attempt
from authflow.tracing import ERASING_TASK, erase_traces

if TYPE_CHECKING:
    from authflow.engine import Engine

MAX_TRIES = 8
VERIFICATION_LIMIT = "verification_mail_per_name"
REGISTRATION_LIMIT = "registration_mail_per_name"
"""Of its own, so that nobody who asks for another mail again and again uses up what a new attempt needs."""

_HOST = re.compile(r"[A-Za-z0-9.-]+")


@runtime_checkable
class DeliversRecovery(Protocol):
    """A password provider that brings the recovery key to its owner by other means than mail, such as a text message.

    Who asked for what, the limits and the ticket stay ours. ViUR: `sendUserPasswordRecoveryCode`.
    """

    async def deliver_recovery(self, account: Account, recovery_key: str, link: str, device: str) -> None:
        """Deliver it. May be called again with the same key after a crash.

        Raises:
            TaskFailed: It never can be delivered. Anything else is tried again later.
        """


def handlers(engine: Engine, renderer: Renderer, transport: MailTransport) -> Mapping[str, Handler]:
    """Return what carries out the tasks of this package, by task name."""
    office = MailOffice(engine, renderer, transport)
    return {
        RECOVERY_TASK: office.send_recovery,
        "send_verification": office.send_verification,
        "send_registration_notice": office.send_registration_notice,
        "send_notice": office.send_notice,
        "send_welcome": office.send_welcome,
        "deliver_message": office.deliver_message,
        ERASING_TASK: partial(erase_traces, engine),
    }


@dataclass(frozen=True, slots=True)
class MailOffice:
    """Carries out mail tasks. Each method takes one task and may be called again for it."""

    engine: Engine
    renderer: Renderer
    transport: MailTransport

    async def send_recovery(self, task: Task) -> None:
        """Send a recovery key to the owner of a name, if there is an active one: at most one mail in a while."""
        account = await self._by_name(str(task.payload["name"]))
        if account is None or not self.engine.user.is_active(account):
            return
        provider: object = self.engine.registry.password_provider
        messenger = provider if isinstance(provider, DeliversRecovery) else None
        if not account.email and messenger is None:
            return
        token = self._token(task, Purpose.RECOVERY, account)
        ticket = tickets.make(Purpose.RECOVERY, account, self.engine.services.clock())
        if await self._marked(tickets.insertion(token, ticket), account, "recovery_mail_per_name") is None:
            return
        device, link = _agent(task), self._link(f"pwrecover?recovery_key={token}")
        if messenger is not None:
            await self.engine.services.seam.call(
                "mail", "deliver", (RECOVERY_TASK,), lambda: messenger.deliver_recovery(account, token, link, device)
            )
            return
        minutes = _whole(tickets.LIFETIMES[Purpose.RECOVERY], timedelta(minutes=1))
        context = {"recovery_key": token, "link": link, "minutes": minutes, "device": device}
        await self._send(task, account, "recovery", context)

    async def send_verification(self, task: Task) -> None:
        """Send the link that confirms an address: to a new account, or to the owner of a name who asked again."""
        if "account_id" in task.payload:
            account = await self._by_id(task)
            if account is not None and _is_waiting(account):
                await self._verification(task, account, Attempt("", task.created_at, _agent(task)), None)
            return
        account = await self._by_name(str(task.payload["name"]))
        if account is not None and _is_waiting(account):
            attempt = await self._usable(task, account, await self._newest(account))
            await self._verification(task, account, attempt, VERIFICATION_LIMIT)

    async def send_registration_notice(self, task: Task) -> None:
        """Tell somebody who registers again that there is an account, or send the link of this very attempt."""
        account = await self._by_id(task)
        if account is not None and _is_waiting(account):
            attempt = await self._usable(task, account, await self._attempt_at(attempt_key(task.id)))
            await self._verification(task, account, attempt, REGISTRATION_LIMIT)
            return
        # Nobody will ever agree to what this attempt chose.
        forgotten = (attempt_key(task.id), newest_attempt_key(str(task.payload["account_id"])))
        await self.engine.services.store.commit([Delete(key) for key in forgotten])
        if account is None:
            return
        mark = Insert(spent_key(f"mail.{task.id}"), {}, self.engine.services.clock() + timedelta(days=7))
        if account.email and await self._marked(mark, account, VERIFICATION_LIMIT) is not None:
            context = {"login_link": self._origin("/user/login"), "recover_link": self._link("pwrecover")}
            await self._send(task, account, "already_registered", context)

    async def send_notice(self, task: Task) -> None:
        """Tell an owner what happened to the account. The payload is the template's name and few plain values."""
        account = await self._by_id(task)
        if account is None:
            return
        provider = self.engine.registry.get(str(task.payload.get("provider", "")))
        context: dict[str, object] = {
            "name": account.name,
            "at": f"{task.created_at:%Y-%m-%d %H:%M} UTC",
            "label": provider.label if provider else "",
            "login_link": self._origin("/user/login"),
        }
        values = {name: value for name, value in task.payload.items() if name not in ("template", "account_id", "to")}
        if "to" in task.payload:
            # The address that the account had before: nothing else knows it any more.
            account = replace(account, email=str(task.payload["to"]))
        await self._send(task, account, str(task.payload["template"]), {**context, **values})

    async def send_welcome(self, task: Task) -> None:
        """Tell somebody that an account was made for them, with a link to choose a password if it has none."""
        account = await self._by_id(task)
        if account is None or not account.email or not self.engine.user.is_active(account):
            return
        context: dict[str, object] = {"name": account.name, "login_link": self._origin("/user/login"), "link": ""}
        if task.payload["with_link"]:
            token = self._token(task, Purpose.SETUP, account)
            ticket = tickets.make(Purpose.SETUP, account, self.engine.services.clock())
            if await self._marked(tickets.insertion(token, ticket), account, None) is None:
                return
            context["link"] = self._link(f"setup?setup_key={token}")
            context["recover_link"] = self._link("pwrecover")
            context["minutes"] = _whole(tickets.LIFETIMES[Purpose.SETUP], timedelta(minutes=1))
        await self._send(task, account, "welcome", context)

    async def deliver_message(self, task: Task) -> None:
        """Send the code of a flow's step, made anew from the step's ids; none once the step's time is over."""
        window = self.engine.user.second_factor_time_window
        account = await self._by_id(task)
        if account is None or self.engine.services.clock() - task.created_at >= window:
            return
        mark = Insert(spent_key(f"mail.{task.id}"), {}, self.engine.services.clock() + window)
        if await self._marked(mark, account, "message_per_account") is None:
            return
        payload, keyring = task.payload, self.engine.services.keyring
        place = (payload["flow_id"], payload["step"], payload["provider"], account.id)
        code = derived_code(keyring, *place, payload["digits"])
        context = {"code": code, "minutes": _whole(window, timedelta(minutes=1))}
        await self._send(task, account, str(payload["template"]), context)

    # --- Attempts to register -----------------------------------------------------------------------------------------

    async def _verification(self, task: Task, account: Account, attempt: Attempt | None, limit: str | None) -> None:
        if attempt is None or not account.email:
            return
        token = self._token(task, Purpose.VERIFICATION, account)
        ticket = tickets.make(Purpose.VERIFICATION, account, self.engine.services.clock())
        held = await self._marked(tickets.insertion(token, ticket, attempt), account, limit)
        if held is None:
            return
        # A link that may have been sent already keeps its meaning, whatever was registered since.
        attempt = tickets.attempt_of(held) or attempt
        context = {
            "link": self._link(f"verify?skey={token}"),
            "days": _whole(tickets.LIFETIMES[Purpose.VERIFICATION], timedelta(days=1)),
            "device": attempt.device,
            "at": f"{attempt.at:%Y-%m-%d %H:%M} UTC",
        }
        await self._send(task, account, "verification", context)

    async def _usable(self, task: Task, account: Account, attempt: Attempt | None) -> Attempt | None:
        """Return what a link that is sent now may activate; None when the attempt's time is over."""
        used = login_info_key(account.id)
        if used in await self.engine.services.store.get((used,)):
            # Somebody has logged in: the password in place is its owner's, and no registration replaces it.
            return Attempt("", task.created_at, _agent(task))
        is_alive = attempt is not None and self.engine.services.clock() < attempt.expires_at
        return attempt if is_alive else None

    async def _newest(self, account: Account) -> Attempt | None:
        newest = await self._attempt_at(newest_attempt_key(account.id)) or Attempt("", account.created_at)
        # Never the first one in place of a later one that is gone: it may be a stranger's.
        return await self._attempt_at(attempt_key(newest.id)) if newest.id else newest

    async def _attempt_at(self, place: Key) -> Attempt | None:
        record = (await self.engine.services.store.get((place,))).get(place)
        return None if record is None else Attempt.from_data(record.data)

    # --- Tickets ------------------------------------------------------------------------------------------------------

    def _token(self, task: Task, purpose: Purpose, account: Account) -> str:
        # With the epoch, a repeat mints the same token only as long as nothing was done with it: none comes back.
        return tickets.mint(self.engine.services.keyring, purpose, f"{task.id}.{account.epoch}", account.id)

    async def _marked(self, mark: Insert, account: Account, limit: str | None) -> Mapping[str, Any] | None:
        """Count a mail and leave its mark, in one commit; return what the mark holds, or None for no mail.

        A mark that is there already was left by an earlier try of the same task: it was counted then, and lives anew
        from now on, since the mail server may have been away for longer than a ticket lives. Its attempt stays.
        """
        services, limits = self.engine.services, self.engine.user.limits
        rules = {
            "message_per_account": limits.message_per_account,
            REGISTRATION_LIMIT: limits.registration_mail_per_name,
        }
        rule = rules.get(limit or "", limits.recovery_mail_per_name)
        place = bucket_key(services.keyring, limit or "", account.canonical_name)
        for _ in range(MAX_TRIES):
            records = await services.store.get((mark.key, place) if limit else (mark.key,))
            held, bucket = records.get(mark.key), Bucket(place, rule, records.get(place))
            now, data = services.clock(), dict(mark.data)
            writes: list[Write] = [mark]
            if held is not None:
                data |= {name: value for name, value in held.data.items() if name == "attempt"}
                writes = [Update(mark.key, data, held.version, mark.expires_at)]
            elif limit:
                if rule.wait(bucket.state, now) is not None:
                    if limit == REGISTRATION_LIMIT:
                        # Later, not never: who registers a name again and again must not hold back its owner's mail.
                        raise MailUnavailable("this name has had its mails for the moment")
                    return None
                writes.append(bucket.failed(now))
            try:
                await services.store.commit(writes)
            except StoreConflict:
                continue
            return data
        raise StoreUnavailable("conflicts did not end")

    # --- Parts --------------------------------------------------------------------------------------------------------

    async def _by_id(self, task: Task) -> Account | None:
        return await self.engine.account_by_id(str(task.payload["account_id"]))

    async def _by_name(self, name: str) -> Account | None:
        place = name_key(name)
        record = (await self.engine.services.store.get((place,))).get(place)
        return None if record is None else await self.engine.account_by_id(str(record.data["account_id"]))

    async def _send(self, task: Task, account: Account, template: str, context: Mapping[str, object]) -> None:
        """Send a mail to the account's stored address.

        Raises:
            TaskFailed: The message can never be sent.
            MailUnavailable: It may be later.
        """
        if not account.email:
            return
        text = self.renderer.mail(template, {"site_name": self.engine.user.site_name, **context})
        host = urlsplit(self.engine.services.settings.base_url).hostname or ""
        message_id = f"<{task.id}@{host if _HOST.fullmatch(host) else 'localhost'}>"
        mail = Mail(account.email, text.subject, text.text, text.html, message_id)
        try:
            await self.engine.services.seam.call("mail", "send", (template,), lambda: self.transport.send(mail))
        except MailRefused as refusal:
            raise TaskFailed(f"{template}: {refusal.detail}", code=refusal.code) from None

    def _link(self, rest: str) -> str:
        provider = self.engine.registry.password_provider
        return self._origin(f"/user/{provider.path if provider else ''}/{rest}")

    def _origin(self, path: str) -> str:
        # From the settings alone: no header of a request has a say in it.
        return self.engine.services.settings.base_url + path


def _is_waiting(account: Account) -> bool:
    return account.status == Status.WAITING_FOR_EMAIL_VERIFICATION


def _agent(task: Task) -> str:
    return str(task.payload.get("agent", ""))


def _whole(span: timedelta, unit: timedelta) -> int:
    return max(span // unit, 1)
