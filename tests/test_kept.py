"""What was decoded is used again for the same version, and for no other."""

from __future__ import annotations

from authflow.kept import Kept
from authflow.store.protocol import Key, Record


def record(name: str, version: int) -> Record:
    return Record(Key("account", name), {"v": version}, version)


def test_a_record_is_decoded_once_for_each_version() -> None:
    decoded: list[tuple[str, object]] = []
    kept = Kept(lambda name, data: decoded.append((name, data["v"])) or data["v"])

    values = [kept.of(record("a", version)) for version in (1, 1, 2, 2, 1)]

    assert values == [1, 1, 2, 2, 1]
    assert decoded == [("a", 1), ("a", 2), ("a", 1)]


def test_no_more_than_its_size_is_kept() -> None:
    kept = Kept(lambda name, data: name, size=3)

    for number in range(50):
        kept.of(record(str(number), 1))

    assert len(kept._kept) == 3
