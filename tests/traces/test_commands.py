"""`authflow flows traces` and `replay`, as they are typed."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authflow.store.protocol import Update
from authflow.testing import ADA, Clock, Site, make_site
from authflow.user import User
from tests.cli.conftest import Answer, Command, authflow, environment
from tests.traces.conftest import Traced

__all__ = ["authflow", "environment"]

STRICTER = "tests.traces.test_commands:Stricter"
BY_DOMAIN = "tests.traces.test_commands:ByDomain"


class Stricter(User):
    second_factor_required_roles = frozenset({"editor"})


class ByDomain(User):
    def demands_second_factor(self, account, flow):
        return account.canonical_name.endswith("@example.org")


Work = Callable[[Site], Awaitable[None]]


@pytest.fixture
def lead(environment: dict[str, str], tmp_path: Path) -> Callable[[Work], None]:
    """Return what leads some life on the store that the commands see, a little while ago."""

    def led(work: Work) -> None:
        async def run() -> None:
            clock = Clock(datetime.now(UTC) - timedelta(hours=1))
            site = await make_site(Traced(), sqlite=tmp_path / "store.db", clock=clock)
            await work(site)
            await site.close()

        asyncio.run(run())

    return led


async def logins(site: Site) -> None:
    await site.account_with_totp()
    await site.account("bob@example.org", roles=("editor",))
    await site.logged_in(with_code=True)
    site.clock.pass_by(timedelta(seconds=1))
    await site.logged_in("bob@example.org")


def lines(answer: Answer) -> list[dict]:
    return [json.loads(line) for line in answer.out.splitlines()]


def test_traces_are_listed_the_oldest_first(authflow: Command, lead: Callable[[Work], None]) -> None:
    lead(logins)

    listed = authflow("flows", "traces")

    heads, first, second, third = listed.out.splitlines()
    assert heads.split() == ["AT", "FLOW", "KIND", "EVENTS", "OUTCOME", "SPENT"]
    assert ("completed:user_password" in first, "owes time_based_otp" in first) == (True, True)
    assert "completed:time_based_otp" in second
    assert third.split()[3:6] == ["login", "completed:user_password", "completed"]
    assert listed.code == 0


def test_traces_of_one_account_and_of_one_flow(authflow: Command, lead: Callable[[Work], None]) -> None:
    lead(logins)

    of_ada = lines(authflow("flows", "traces", "--account", ADA, "--json"))
    flow = of_ada[0]["flow_id"]
    shown = authflow("flows", "traces", "--flow", flow)

    assert {line["flow_id"] for line in of_ada} == {flow}
    assert len(of_ada) == 2
    assert "judged by" in shown.out.lower()
    assert "active; enrolled: time_based_otp" in shown.out
    assert "hashes 1, store.commit 1, store.get 2" in shown.out
    assert authflow("flows", "traces", "--account", "bob@example.org", "--flow", flow).out == ""
    assert authflow("flows", "traces", "--account", "nobody@example.org").code == 2


def test_a_page_tells_where_the_next_one_begins_and_no_line_names_an_account(
    authflow: Command, lead: Callable[[Work], None]
) -> None:
    lead(logins)

    first = lines(authflow("flows", "traces", "--limit", "2", "--json"))
    second = lines(authflow("flows", "traces", "--limit", "2", "--json", "--cursor", first[-1]["cursor"]))

    assert [len(first), len(second)] == [3, 1]
    assert {line["account_id"] for line in (*first[:2], *second)} == {None}
    assert "--cursor" in authflow("flows", "traces", "--limit", "2").err
    assert authflow("flows", "traces", "--cursor", "nonsense").code == 2


def test_the_pages_of_one_account_name_it_nowhere(authflow: Command, lead: Callable[[Work], None]) -> None:
    ids: list[str] = []

    async def three(site: Site) -> None:
        ids.append((await site.account_with_totp()).id)
        await site.logged_in(with_code=True)
        site.clock.pass_by(timedelta(minutes=1))
        await site.person().log_in()

    lead(three)

    printed = authflow("flows", "traces", "--account", ADA, "--limit", "2", "--json")
    first = lines(printed)
    cursor = first[-1]["cursor"]
    second = lines(authflow("flows", "traces", "--account", ADA, "--limit", "2", "--json", "--cursor", cursor))

    assert [len(first), len(second)] == [3, 1]
    assert not [line for line in second if line in first]
    words = re.findall(r"[A-Za-z0-9_-]{20,}", printed.out)
    read = b" ".join(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)) for word in words if len(word) % 4 != 1)
    assert len(read) > 50
    assert ids[0] not in printed.out
    assert ids[0].encode() not in read
    assert authflow("flows", "traces", "--cursor", cursor).code == 2
    for wrong in ("nonsense", "ä.b", first[0]["flow_id"]):
        assert authflow("flows", "traces", "--account", ADA, "--cursor", wrong).code == 2


def test_only_what_is_newer_is_listed(authflow: Command, lead: Callable[[Work], None]) -> None:
    lead(logins)

    assert lines(authflow("flows", "traces", "--since", "2126-01-01", "--json")) == []
    assert len(lines(authflow("flows", "traces", "--since", "2026-01-01", "--json"))) == 3


def test_what_only_a_later_version_can_read_is_said_and_left_out(
    authflow: Command, lead: Callable[[Work], None]
) -> None:
    async def later(site: Site) -> None:
        await logins(site)
        for record in (await site.memory.find("trace", "at", limit=2)).records:
            await site.memory.commit((Update(record.key, {**record.data, "form": 2}, record.version),))

    lead(later)

    as_lines = authflow("flows", "traces", "--json")
    as_table = authflow("flows", "traces")

    assert (len(lines(as_lines)), as_lines.code, len(as_table.out.splitlines())) == (1, 0, 2)
    for answer in (as_lines, as_table):
        assert "2 more" in answer.err
        assert "later version" in answer.err


def test_where_there_are_none_it_is_said_how_many_flows_leave_one(
    authflow: Command, lead: Callable[[Work], None]
) -> None:
    async def nothing(site: Site) -> None:
        await site.account()

    lead(nothing)

    said = authflow("flows", "traces")

    assert (said.code, said.out) == (0, "")
    assert "10% of all flows" in said.err


def test_a_deleted_account_leaves_none(authflow: Command, lead: Callable[[Work], None]) -> None:
    lead(logins)

    assert authflow("users", "delete", ADA, "--yes").code == 0

    assert len(lines(authflow("flows", "traces", "--json"))) == 1


# --- Replay -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def printed(authflow: Command, lead: Callable[[Work], None], tmp_path: Path) -> Path:
    """A file of traces."""
    lead(logins)
    path = tmp_path / "traces.jsonl"
    path.write_text(authflow("flows", "traces", "--limit", "2", "--json").out)
    return path


def test_what_has_not_changed_ends_with_nothing(authflow: Command, printed: Path) -> None:
    answer = authflow("flows", "replay", str(printed))

    assert (answer.code, answer.out) == (0, "1 flows, 0 would go another way\n")


def test_what_has_changed_is_told_and_ends_with_one(authflow: Command, printed: Path) -> None:
    everything = authflow("flows", "traces", "--json").out

    answer = authflow("flows", "replay", str(printed), "-", "--user", STRICTER, typed=everything)
    data = authflow("flows", "replay", "-", "--user", STRICTER, "--json", typed=everything)

    assert answer.code == data.code == 1
    change, count = answer.out.splitlines()
    assert change.endswith("after completed:user_password was completed, now owes to set up time_based_otp")
    assert count == "2 flows, 1 would go another way"
    assert data.data["flows"] == 2
    (found,) = data.data["changed"]
    assert (found["was"], found["now"]) == ("completed", "owes to set up time_based_otp")
    assert (found["kind"], found["after"]) == ("login", ["completed:user_password"])


def test_what_nobody_can_tell_is_told_apart_and_ends_with_one(authflow: Command, printed: Path) -> None:
    everything = authflow("flows", "traces", "--json").out

    answer = authflow("flows", "replay", "-", "--user", BY_DOMAIN, typed=everything)
    data = authflow("flows", "replay", "-", "--user", BY_DOMAIN, "--json", typed=everything)

    assert answer.code == data.code == 1
    one, count = answer.out.splitlines()
    assert one.endswith("cannot tell: it hangs on account.canonical_name, which no trace holds")
    assert count == "2 flows, 0 would go another way, of 1 nobody can tell"
    assert [found["is_unknown"] for found in data.data["changed"]] == [True]


def test_no_store_is_needed(authflow: Command, printed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHFLOW_STORE", "sqlite:/nowhere/at/all.db")

    assert authflow("flows", "replay", str(printed)).code == 0


@pytest.mark.parametrize(
    "text",
    ["no json\n", "[1]\n", "{}\n", '{"form": 2}\n', "3\n", '{"form": 1, "flow_id": 7}\n', "[" * 100_000],
)
def test_what_is_no_trace_is_refused_with_its_line(authflow: Command, printed: Path, text: str) -> None:
    answer = authflow("flows", "replay", "-", typed=printed.read_text() + text)

    assert (answer.code, answer.out) == (2, "")
    assert "line 4: not a trace" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("change", [{"at": 10**30}, {"kind": "flying"}, {"owed": [["prove"]]}, {"cost": []}], ids=str)
def test_a_spoilt_trace_is_refused(authflow: Command, printed: Path, change: dict[str, object]) -> None:
    data = json.loads(printed.read_text().splitlines()[0])

    assert authflow("flows", "replay", "-", typed=json.dumps({**data, **change})).code == 2


def test_nothing_to_replay_a_missing_file_and_a_wrong_class_are_refused(authflow: Command, printed: Path) -> None:
    assert authflow("flows", "replay", "-", typed='{"cursor": "x"}\n').code == 2
    assert "No such file" in authflow("flows", "replay", str(printed) + ".not").err
    wrong = authflow("flows", "replay", str(printed), "--user", "tests.traces:Nobody")
    assert (wrong.code, "--user" in wrong.err) == (2, True)
