"""The certifier can fail: each planted fault is found by the check that is there for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from authflow import submissions
from authflow.certifying import declared, ending
from authflow.certifying.run import CHECKS, certify
from examples.code_by_mail import CodeByMail
from tests.certifying.planted import PLANTED, ForgetsTheStep, Planted

EXAMPLES = Path(__file__).parent.parent.parent / "examples/templates"
FOUND = {check for planted in PLANTED for check in planted.checks}
LAST = {check.name for check in (*ending.CHECKS, *declared.AT_THE_END)}
SEEING = ("configuring", "right_answer", "empty_is_refused", "wrong_is_refused")
OF_THE_ENGINE = ("comeback_needs_leaving",)
"""No provider can fail these: the engine keeps them, whatever a provider does."""


def templates_of(planted: Planted, folder: Path) -> str:
    """Return a folder with the pages of the examples and those that the fault brings."""
    for file in EXAMPLES.rglob("*"):
        if file.is_file():
            place = folder / file.relative_to(EXAMPLES)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in planted.pages.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.provider.__name__)
def test_a_planted_fault_is_found(planted: Planted, tmp_path: Path) -> None:
    # What is judged at the end judges what others have seen.
    only = {*planted.checks, *SEEING} if set(planted.checks) & LAST else planted.checks
    certificate = certify(planted.provider, kit=planted.kit, templates=templates_of(planted, tmp_path), only=only)

    found = {result.name: result.why for result in certificate.failed}
    assert set(planted.checks) <= set(found), "\n".join(certificate.lines())
    assert not any("could not be made" in found[check] for check in planted.checks)


def test_a_fault_of_a_page_is_named_with_what_the_log_says(tmp_path: Path) -> None:
    [broken] = [planted for planted in PLANTED if planted.provider.__name__ == "ShowsItOnce"]

    certificate = certify(broken.provider, templates=templates_of(broken, tmp_path), only=("enrolling_pages",))

    [result] = certificate.failed
    assert result.why == (
        "a wrong confirmation ends in a fault (status 503: RenderError: time_based_otp/add.html: 'dict object' has no"
        " attribute 'secret')"
    )
    assert result.mend.startswith("mend the fault that is named")


def test_a_page_of_another_step_is_named_with_what_it_asks_for() -> None:
    certificate = certify(ForgetsTheStep, only=("enrolling_pages",))

    [result] = certificate.failed
    assert result.why == ("after a wrong confirmation the page asks for word, and first, second, third is waited for")
    assert "show_enrolment" in result.mend


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 100


def test_every_check_has_found_something() -> None:
    assert {check.name for check in CHECKS} - FOUND == set(OF_THE_ENGINE)


def test_what_the_engine_guards_is_found_where_it_does_not(monkeypatch) -> None:
    monkeypatch.setattr(submissions, "demand_return", lambda flow, provider, *, by_get: None)

    certificate = certify(CodeByMail, only=OF_THE_ENGINE)

    assert [result.name for result in certificate.failed] == [*OF_THE_ENGINE]
