"""What is dangerous about a deployment. Looks at the settings, the store and the templates; changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from authflow.administration import FIRST_ADMIN
from authflow.errors import StoreUnavailable
from authflow.model import Account
from authflow.powers import IssuesCodes
from authflow.records import credential_key
from authflow.render import template_dir
from authflow.store.protocol import Record
from authflow.tokens import BadToken, key_id

if TYPE_CHECKING:
    from pathlib import Path

    from authflow.assembly import Application

LEAST_ROUNDS = 10
"""bcrypt's cost below which guessing is too cheap (OWASP Password Storage Cheat Sheet)."""

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """Something an operator should know.

    Attributes:
        code: Stable, for programs.
        message: What is wrong and what to do about it.
    """

    code: str
    message: str


async def findings(app: Application) -> AsyncIterator[Finding]:
    """Look at everything. The store is opened already, or does not answer."""
    from authflow.cloud_findings import of_cloud, of_upkeep  # Here, since that module needs `Finding` of this one.

    for finding in (*of_settings(app), *of_cloud(app.settings), *of_templates(app)):
        yield finding
    try:
        await app.services.store.get((FIRST_ADMIN,))
        async for finding in _of_store(app):
            yield finding
        async for finding in of_upkeep(app):
            yield finding
    except StoreUnavailable as error:
        yield Finding("store_unavailable", f"the store does not answer: {error.detail}")


def of_settings(app: Application) -> Iterator[Finding]:
    """Look at what is allowed on a developer's machine and nowhere else."""
    settings = app.settings
    if settings.mail.startswith("console:"):
        yield Finding("mail_console", "AUTHFLOW_MAIL: mails are printed and reach nobody; set smtp:// or smtps://")
    if settings.mail.startswith("file:"):
        yield Finding(
            "mail_file", "AUTHFLOW_MAIL: mails are written to files and reach nobody; set smtp:// or smtps://"
        )
    if not settings.is_secure:
        yield Finding("http", f"AUTHFLOW_BASE_URL: {settings.base_url} is not https: passwords can be read on the way")
    if settings.store.startswith("memory:"):
        yield Finding("store_memory", "AUTHFLOW_STORE: everything is forgotten when the process ends; set sqlite:PATH")
    if settings.bcrypt_rounds < LEAST_ROUNDS:
        yield Finding(
            "bcrypt_rounds",
            f"AUTHFLOW_BCRYPT_ROUNDS: {settings.bcrypt_rounds} makes guessing cheap; set {LEAST_ROUNDS} or more",
        )


def of_templates(app: Application) -> Iterator[Finding]:
    """Compile every template, and look for the pages and mails that providers name."""
    folders = [template_dir()]
    if app.settings.templates:
        from pathlib import Path

        folders.append(Path(app.settings.templates))
    names = {name for folder in folders for name in _templates_in(folder)}
    # A provider without a page of its own gets the general one; a broken page of its own is found in its folder.
    for broken in app.renderer.check(sorted(names)):
        yield Finding("template", f"template {broken}")


def _templates_in(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*"):
        if file.suffix in (".html", ".txt"):
            yield file.relative_to(folder).as_posix()


async def _of_store(app: Application) -> AsyncIterator[Finding]:
    async for finding in orphans(app):
        yield finding
    async for finding in _of_keys(app):
        yield finding


async def orphans(app: Application, *, pages: int | None = None) -> AsyncIterator[Finding]:
    """Look for people who cannot log in, since an enrolled factor of theirs cannot be asked for.

    Args:
        pages: Look at so many hundred accounts at the most, as a server does when it starts; at all of them by default.
            Instances of App Engine and Cloud Run look at none: they start all day, also while the store is away.
    """
    if pages is not None and app.settings.is_hosted:
        return
    cursor: str | None = None
    for _ in count() if pages is None else range(pages):
        page = await app.administration.list(cursor, _PAGE)
        concerned = [account for account in page.accounts if account.factors]
        keys = {credential_key(account.id, factor) for account in concerned for factor in account.factors}
        records = await app.services.store.get(tuple(keys)) if keys else {}
        for account in concerned:
            for factor in account.factors:
                if app.administration.held(records, account, factor).is_usable:
                    continue
                record = records.get(credential_key(account.id, factor))
                if record is not None and not _is_readable(app, record):
                    yield _unreadable(account, factor)
                else:
                    yield _orphan(account, factor)
        cursor = page.cursor
        if cursor is None:
            return


def _is_readable(app: Application, record: Record) -> bool:
    try:
        app.engine.vault.credential(record.data)
    except BadToken:
        return False
    return True


def _unreadable(account: Account, factor: str) -> Finding:
    return Finding(
        "secret_unreadable",
        f"{account.name} cannot log in: the secret of {factor} cannot be decrypted with the keys that are set. Put the"
        " key that encrypted it back into AUTHFLOW_SECRET_KEYS",
    )


def _orphan(account: Account, factor: str) -> Finding:
    return Finding(
        "factor_orphaned",
        f"{account.name} cannot log in: the enrolled factor {factor} cannot be asked for. Offer its provider again, or"
        f" run: authflow users factors {account.name} --remove {factor}",
    )


async def _of_keys(app: Application) -> AsyncIterator[Finding]:
    """Look for keys that encrypt nothing, and for secrets that wait for the newest one."""
    keyring = app.services.keyring
    if keyring.key_count == 1:
        return
    codes = {name for name, provider in app.engine.registry.declared.items() if isinstance(provider, IssuesCodes)}
    used: dict[str, int] = {}
    has_digests, cursor = False, None
    while True:
        page = await app.services.store.find("credential", "account_id", limit=_PAGE, cursor=cursor)
        for record in page.records:
            secret = record.data["secret"]
            has_digests = has_digests or record.data["provider"] in codes
            if isinstance(secret, str) and secret:
                name = secret.partition(".")[0]
                used[name] = used.get(name, 0) + 1
        cursor = page.cursor
        if cursor is None:
            break
    newest, *older = (key_id(key) for key in keyring.keys("credential"))
    waiting = sum(count for name, count in used.items() if name != newest)
    if waiting:
        yield Finding("keys_not_rotated", f"{waiting} secrets are not under the newest key; run: authflow keys rotate")
    for number, name in enumerate(older, start=2):
        if name not in used:
            kept = " Recovery codes that were made under it stop working then." if has_digests else ""
            yield Finding(
                "key_unused",
                f"AUTHFLOW_SECRET_KEYS: key {number} of {keyring.key_count} encrypts nothing any more; remove it a day"
                f" after the newest one came in.{kept}",
            )
