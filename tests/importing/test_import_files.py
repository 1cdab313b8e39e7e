"""A file of accounts, line by line: what is refused, what is told, and that the rest is taken in all the same."""

from __future__ import annotations

import io
import json

import pytest

from authflow.import_files import LONGEST_LINE, Refusal, import_lines
from authflow.importing import Importing
from authflow.testing import Kit
from authflow.viur_entries import read_entry
from tests.importing.kit import ADA, LATER, SEED, bring, entity


async def test_a_refused_line_does_not_keep_the_others_out(kit: Kit) -> None:
    report = await bring(
        kit, entity(name="a@example.org"), "nonsense", entity(status=None), entity(name="b@example.org")
    )

    assert report.taken_in == 2
    assert [(refusal.line, refusal.name) for refusal in report.refused] == [(2, ""), (3, "")]


async def test_a_refusal_names_the_account_and_the_field(kit: Kit) -> None:
    report = await bring(kit, entity(name="Ada@Example.org", firstname="x" * 200))

    assert report.refused == [Refusal(1, "Ada@Example.org", "bad_input", "firstname: This is too long.")]


async def test_two_lines_about_one_person_are_one_too_many(kit: Kit) -> None:
    report = await bring(
        kit,
        entity(name=ADA),
        entity(name="ADA@EXAMPLE.ORG"),
        entity(LATER, name="b@example.org"),
        entity(LATER, name="c@example.org"),
    )

    assert report.taken_in == 2
    assert [(refusal.line, refusal.code) for refusal in report.refused] == [(2, "duplicate"), (4, "duplicate")]
    assert "line 1" in report.refused[0].reason
    assert "line 3" in report.refused[1].reason


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "null",
        "{",
        '{"name": "a", "name": "b", "status": 10}',
        '{"name": "a", "status": NaN}',
        '{"name": "\\ud800", "status": 10}',
        "[" * 100_000,
        '{"name": "a", "status": 10, "x": "' + "x" * LONGEST_LINE + '"}',
    ],
)
async def test_a_line_that_is_no_object_is_refused(kit: Kit, line: str) -> None:
    report = await bring(kit, line, SEED)

    assert [refusal.line for refusal in report.refused] == [1]
    assert report.taken_in == 1


@pytest.mark.parametrize("over", [-1, 0, 1, LONGEST_LINE, LONGEST_LINE + 1, LONGEST_LINE + 2, 3 * LONGEST_LINE])
async def test_the_line_after_a_long_one_is_read_from_its_beginning(kit: Kit, over: int) -> None:
    padded = json.dumps(entity(name="long", x=""))
    padded = padded.replace('"x": ""', '"x": "' + "x" * (LONGEST_LINE + over - len(padded) - 1) + '"')

    report = await bring(kit, padded, SEED)

    assert [refusal.line for refusal in report.refused] == ([1] if over > 0 else [])
    assert report.taken_in == (1 if over > 0 else 2)


async def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_nothing(kit: Kit) -> None:
    one, other = json.dumps(SEED), json.dumps(entity(name="bob"))
    file = io.BytesIO(b"\xef\xbb\xbf" + f"{one}\r\n\r\n   \n{other}".encode())

    report = await import_lines(Importing(kit.engine), file, lambda entry: read_entry(entry, ()))

    assert (report.taken_in, report.refused) == (2, [])


async def test_an_empty_file_is_nothing(kit: Kit) -> None:
    report = await bring(kit)

    assert (report.taken_in, report.already_here, report.refused) == (0, 0, [])


async def test_fields_that_are_not_taken_are_counted(kit: Kit) -> None:
    report = await bring(kit, entity(), entity(name="bob", viurCurrentSeoKeys=None), entity(name="eve", gaeadmin=...))

    assert report.ignored == {"gaeadmin": 2, "viurCurrentSeoKeys": 1}


async def test_hashes_that_stay_are_counted(kit: Kit) -> None:
    report = await bring(kit, SEED, entity(LATER, name="bob@example.org"))

    assert (report.taken_in, report.kept) == (2, 1)


async def test_refusals_and_progress_are_told_on_the_way(kit: Kit) -> None:
    told, progress = list[Refusal](), list[int]()
    file = [entity(name=f"p{n}", password=None, status=10 if n % 2 else "x") for n in range(250)]

    report = await bring(kit, *file, refused=told.append, progress=progress.append)

    assert sorted(refusal.line for refusal in told) == [refusal.line for refusal in report.refused]
    assert len(told) == 125
    assert progress == [100, 200]


async def test_more_lines_than_the_hashing_pool_has_places_are_taken_in(kit: Kit) -> None:
    report = await bring(kit, *(entity(name=f"p{n}") for n in range(60)))

    assert (report.taken_in, report.refused) == (60, [])
