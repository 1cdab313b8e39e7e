"""What an operator's clock does: remove what has expired, and encrypt anew after a change of keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from authflow.account_work import AccountWork
from authflow.errors import StoreConflict
from authflow.model import Plain
from authflow.store.protocol import MAX_WRITES, Delete, Record, Update, Write
from authflow.tokens import BadToken

PAGE = 500
"""Expired records read at a time."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What `rotate_keys` found and did.

    Attributes:
        checked: Credentials looked at.
        rotated: Those that were encrypted anew with the newest key.
        unreadable: Those that no key opens.
        keyed: Those with look-up secrets such as recovery codes. They are digests, which nobody can make anew: while
            there are older ones than the newest key, an older key is still needed.
    """

    checked: int = 0
    rotated: int = 0
    unreadable: int = 0
    keyed: int = 0


class Upkeep(AccountWork):
    """Work on the store as a whole, in pages. Each may be interrupted and run again."""

    async def clean(
        self, now: datetime | None = None, *, progress: Callable[[int], None] | None = None
    ) -> dict[str, int]:
        """Delete expired records.

        Args:
            now: Instead of the engine's time.
            progress: Told after each page how many are gone so far.

        Returns:
            How many were deleted, by kind.
        """
        moment, gone = now or self.now, Counter[str]()
        while True:
            records = await self.engine.services.store.find_expired(moment, limit=PAGE)
            before = gone.total()
            for start in range(0, len(records), MAX_WRITES):
                # Guarded: a limit's record may have come to life again since it was read.
                writes = [Delete(record.key, record.version) for record in records[start : start + MAX_WRITES]]
                gone.update(write.key.kind for write in await self._written(writes))
            if progress is not None:
                progress(gone.total())
            if len(records) < PAGE or gone.total() == before:
                return dict(sorted(gone.items()))

    async def rotate_keys(self, *, progress: Callable[[int], None] | None = None) -> Rotation:
        """Encrypt every credential's secret anew that is not under the newest key.

        Sessions and flows are not touched: they end by themselves within a day.
        """
        keyring, codes = self.engine.services.keyring, set(self._keyed())
        checked = rotated = unreadable = keyed = 0
        cursor: str | None = None
        while True:
            page = await self.engine.services.store.find("credential", "account_id", limit=PAGE, cursor=cursor)
            stale: list[Update] = []
            for record in page.records:
                checked += 1
                keyed += record.data["provider"] in codes
                secret = record.data["secret"]
                if not isinstance(secret, str) or not secret or keyring.is_newest("credential", secret):
                    continue
                try:
                    stale.append(self._encrypted_anew(record))
                except BadToken:
                    unreadable += 1
            for start in range(0, len(stale), MAX_WRITES):
                written = await self._written(stale[start : start + MAX_WRITES])
                rotated += len(written)
            if progress is not None:
                progress(checked)
            cursor = page.cursor
            if cursor is None:
                return Rotation(checked, rotated, unreadable, keyed)

    def _keyed(self) -> list[str]:
        """Return the names of providers whose credentials hold digests that were made with our keys."""
        from authflow.powers import IssuesCodes

        return [name for name, provider in self.engine.registry.declared.items() if isinstance(provider, IssuesCodes)]

    def _encrypted_anew(self, record: Record) -> Update:
        vault = self.engine.vault
        data: dict[str, Plain] = vault.credential_data(vault.credential(record.data))
        return Update(record.key, data, record.version, record.expires_at)

    async def _written(self, writes: Sequence[Delete] | Sequence[Update]) -> list[Write]:
        """Commit together, or one by one where somebody got in between; return what was written.

        A credential that lost here was written in the meantime, and so under the newest key.
        """
        store, done = self.engine.services.store, list[Write]()
        try:
            await store.commit(writes)
        except StoreConflict:
            for write in writes:
                try:
                    await store.commit((write,))
                except StoreConflict:
                    continue
                done.append(write)
            return done
        return list(writes)
