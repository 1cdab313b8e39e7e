"""Cleaning up, and changing keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from authflow.administration import Administration
from authflow.engine import Engine
from authflow.model import Credential
from authflow.store.protocol import Key, Put
from authflow.testing import KEY, Kit
from authflow.tokens import Keyring
from authflow.user import User

NEW_KEY = "a newer test master key, long enough"


async def test_what_has_expired_is_deleted_and_counted_by_kind(kit: Kit, desk: Administration) -> None:
    await kit.account()
    await kit.login()
    kit.clock.pass_by(timedelta(hours=25))

    counts = await desk.clean()

    assert counts["session"] == 1
    assert not await kit.records("session")
    assert await kit.records("account")


async def test_more_than_a_page_is_cleaned(kit: Kit, desk: Administration) -> None:
    now, told = kit.clock(), []
    for start in range(0, 1200, 100):
        await kit.memory.commit([Put(Key("bucket", str(start + i)), {}, now) for i in range(100)])
    kit.clock.pass_by(timedelta(seconds=1))

    counts = await desk.clean(progress=told.append)

    assert counts == {"bucket": 1200}
    assert told == [500, 1000, 1200]


async def test_what_came_to_life_again_is_left_alone(kit: Kit) -> None:
    now, key = kit.clock(), Key("bucket", "busy")
    await kit.memory.commit([Put(key, {}, now), Put(Key("bucket", "idle"), {}, now)])
    kit.clock.pass_by(timedelta(seconds=1))
    found = await kit.memory.find_expired(kit.clock())
    await kit.memory.commit([Put(key, {"row": 1}, now + timedelta(days=1))])

    class Stale:
        """The store as it was read before the record came to life."""

        def __getattr__(self, name: str):
            return getattr(kit.memory, name)

        async def find_expired(self, at, *, limit: int):
            return found

    services = replace(kit.engine.services, store=Stale())
    counts = await Administration(Engine(User(), services)).clean()

    assert counts == {"bucket": 1}
    assert [record.key for record in await kit.records("bucket")] == [key]


def with_keys(kit: Kit, *keys: str) -> Administration:
    return Administration(Engine(User(), replace(kit.engine.services, keyring=Keyring(keys))))


async def test_secrets_are_encrypted_anew_with_the_newest_key(kit: Kit) -> None:
    account, now = await kit.account(), kit.clock()
    await kit.enrolled(account, Credential(account.id, "time_based_otp", now, now, {}, b"the secret of an app"))

    rotation = await with_keys(kit, NEW_KEY, KEY).rotate_keys()

    assert (rotation.checked, rotation.rotated, rotation.unreadable) == (2, 1, 0)
    later = with_keys(kit, NEW_KEY)
    (record,) = [r for r in await kit.records("credential") if r.data["provider"] == "time_based_otp"]
    assert later.engine.vault.credential(record.data).secret == b"the secret of an app"


async def test_what_is_under_the_newest_key_is_not_written(kit: Kit, desk: Administration) -> None:
    account, now = await kit.account(), kit.clock()
    await kit.enrolled(account, Credential(account.id, "time_based_otp", now, now, {}, b"the secret of an app"))

    assert (await desk.rotate_keys()).rotated == 0


async def test_a_secret_whose_key_is_gone_is_counted(kit: Kit) -> None:
    account, now = await kit.account(), kit.clock()
    await kit.enrolled(account, Credential(account.id, "time_based_otp", now, now, {}, b"the secret of an app"))

    assert (await with_keys(kit, NEW_KEY).rotate_keys()).unreadable == 1
