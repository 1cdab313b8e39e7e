"""What every test can count on. Fixtures of one room live in the `conftest.py` of that room."""

from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The machine may be slow or shared: how long an example takes is no property of ours.
settings.register_profile("authflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("authflow")

OPTION = "--require-real-parts"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the option under which nothing may be skipped."""
    parser.addoption(
        OPTION,
        action="store_true",
        help="fail every test that would be skipped because a part (browser, emulator, tool) is missing",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
    call: pytest.CallInfo[Any],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped, when the real parts are required."""
    report = yield
    if item.config.getoption(OPTION):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped as a whole, when the real parts are required."""
    report = yield
    if collector.config.getoption(OPTION):
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    # A test that is expected to fail is reported as skipped too, but no part of it is missing.
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    match report.longrepr:
        case (path, line, reason):
            report.longrepr = f"{path}:{line}: {reason} (refused by {OPTION})"
        case other:
            report.longrepr = f"{other} (refused by {OPTION})"
    report.outcome = "failed"
