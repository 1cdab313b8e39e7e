"""A changed flow is seen in review: the drawings of the stock configuration are kept in files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import ClassVar

import pytest

from authflow.diagrams.text import text
from authflow.flow import TRANSITIONS, FlowKind, Owing, SentAway, Verdict
from authflow.model import Proof
from authflow.policy import Standing
from authflow.user import User
from tests.diagrams.kit import COMMANDS, GOLDEN, PAGE, PICTURES, RENEW, blocks, drawn, made, marks, page_with, pictures

ROOT = PAGE.parent.parent


@pytest.mark.parametrize("name", ["stock.txt", "stock.mmd", "demanding.txt"])
def test_the_flows_are_those_of_the_golden_file(name: str) -> None:
    assert made()[name] == (GOLDEN / name).read_text(encoding="utf-8"), RENEW


def test_every_golden_file_is_compared() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(made())


@pytest.mark.parametrize("name", ["flow_login.svg", "flow_demanding.svg"])
def test_the_pictures_of_the_page_are_those_of_the_code(name: str) -> None:
    assert pictures()[name] == (PICTURES / name).read_text(encoding="utf-8"), RENEW


def test_every_picture_of_a_flow_is_made_and_shown() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert {path.name for path in PICTURES.glob("*.svg")} == set(pictures())
    assert all(f"](img/{name})" in page for name in pictures())


def test_the_page_shows_what_the_commands_print() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert marks(page) == set(COMMANDS)
    assert page_with(blocks(), page) == page, RENEW


class Lax(User):
    """Lets everybody in who knows the password."""

    def remaining_steps(self, kind: FlowKind, proofs: Sequence[Proof], standing: Standing | None) -> Verdict:
        return Owing() if proofs else super().remaining_steps(kind, proofs, standing)


class Fewer(User):
    valid_authentication_methods = (("user_password", "time_based_otp"), ("google_account", None))


class AtHome(User):
    transitions: ClassVar = {
        state: {event: to for event, to in edges.items() if event is not SentAway}
        for state, edges in TRANSITIONS.items()
    }


@pytest.mark.parametrize("user", [Lax, Fewer, AtHome])
def test_a_changed_policy_pair_or_table_changes_the_drawing(user: type[User]) -> None:
    before = text(drawn()).splitlines()[1:]

    assert text(drawn(user())).splitlines()[1:] != before


def test_the_drawing_is_the_same_in_every_process() -> None:
    def shown(seed: str) -> str:
        program = "from tests.diagrams.kit import made; print(made()['demanding.txt'], end='')"
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert shown("1") == shown("2") == (GOLDEN / "demanding.txt").read_text(encoding="utf-8")
