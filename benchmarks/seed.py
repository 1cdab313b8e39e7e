"""Accounts for the bench, made as records. `python -m benchmarks.seed FILE COUNT ROUNDS`, settings by environment."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from authflow.assembly import Application, build
from authflow.identifiers import canonical_name
from authflow.model import Account, Credential
from authflow.records import account_key, credential_key, name_key
from authflow.settings import from_environment
from authflow.store.protocol import Insert
from authflow.tokens import new_id
from benchmarks.floor import PASSWORD
from benchmarks.subjects import OTP_SECRET, mail
from providers.time_based_otp import TimeBasedOTP, new_hardware_token


async def fill(app: Application, count: int) -> None:
    """Write so many accounts without a second factor, and as many with a time-based one, all with one password."""
    with app.services.pool.reserve() as slot:
        stored = await app.services.hasher.hash(slot, PASSWORD)
    writes = [
        write
        for with_factor in (False, True)
        for number in range(count)
        for write in _account(app, mail(number, with_factor=with_factor), stored, with_factor)
    ]
    for start in range(0, len(writes), 100):
        await app.services.store.commit(writes[start : start + 100], durable=False)


def _account(app: Application, name: str, stored: str, with_factor: bool) -> Iterator[Insert]:
    now = datetime.now(UTC)
    factors = (TimeBasedOTP.name,) if with_factor else ()
    account = Account(new_id(), name, canonical_name(name), now, now, email=name, roles=("user",), factors=factors)
    credentials = [Credential(account.id, "user_password", now, now, {"hash": stored})]
    if with_factor:
        token = new_hardware_token(account.id, serial="bench", secret_hex=OTP_SECRET, now=now, interval=30)
        credentials.append(token)
    yield Insert(account_key(account.id), account.to_data())
    yield Insert(name_key(account.canonical_name), {"account_id": account.id})
    for credential in credentials:
        key = credential_key(account.id, credential.provider)
        yield Insert(key, app.engine.vault.credential_data(credential))


async def main(count: int) -> None:
    app = build(from_environment())
    await app.open(with_worker=False)
    await fill(app, count)
    await app.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2])))
