"""A part that is missing skips its tests on a laptop and fails them in CI, however the test asks for it."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

WAYS_TO_SKIP = {
    "a_mark": """
        import pytest

        @pytest.mark.skipif(True, reason="the part is missing")
        def test_part(): ...
    """,
    "in_the_test": """
        import pytest

        def test_part():
            pytest.skip("the part is missing")
    """,
    "in_a_fixture": """
        import pytest

        @pytest.fixture
        def part():
            pytest.skip("the part is missing")

        def test_part(part): ...
    """,
    "the_whole_module": """
        import pytest

        pytest.skip("the part is missing", allow_module_level=True)
    """,
    "a_missing_library": """
        import pytest

        pytest.importorskip("a_library_that_nobody_has", reason="the part is missing")
    """,
    "unittest": """
        import unittest

        class PartTest(unittest.TestCase):
            @unittest.skip("the part is missing")
            def test_part(self): ...
    """,
}


def run_suite(folder: Path, sources: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a suite of small modules, one of which passes."""
    for name, source in sources.items():
        (folder / f"test_{name}.py").write_text(textwrap.dedent(source))
    (folder / "test_that_passes.py").write_text("def test_that_passes(): ...\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "--rootdir=.", *options],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "400"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_missing_part_is_a_skip_with_its_reason(tmp_path: Path) -> None:
    run = run_suite(tmp_path, WAYS_TO_SKIP)

    assert run.returncode == 0, run.stdout
    assert f"1 passed, {len(WAYS_TO_SKIP)} skipped" in run.stdout.splitlines()[-1]
    assert run.stdout.count("the part is missing") >= len(WAYS_TO_SKIP)


def test_a_missing_part_is_a_failure_when_the_real_parts_are_required(tmp_path: Path) -> None:
    run = run_suite(tmp_path, WAYS_TO_SKIP, "--require-real-parts", "--continue-on-collection-errors")

    assert run.returncode != 0
    assert "skipped" not in run.stdout.splitlines()[-1]
    for way in WAYS_TO_SKIP:
        assert re.search(rf"^(FAILED|ERROR) test_{way}\.py.*the part is missing", run.stdout, re.MULTILINE), run.stdout


@pytest.mark.parametrize("way", ["in_the_test", "the_whole_module"])
def test_a_missing_part_is_a_failure_on_a_worker_too(tmp_path: Path, way: str) -> None:
    run = run_suite(tmp_path, {way: WAYS_TO_SKIP[way]}, "-p", "xdist", "-n", "1", "--require-real-parts")

    assert run.returncode != 0
    assert "the part is missing" in run.stdout


def test_an_expected_failure_is_no_missing_part(tmp_path: Path) -> None:
    expected_failure = """
        import pytest

        @pytest.mark.xfail(reason="known", strict=True)
        def test_known():
            assert False
    """

    run = run_suite(tmp_path, {"known": expected_failure}, "--require-real-parts")

    assert run.returncode == 0, run.stdout
    assert "1 passed, 1 xfailed" in run.stdout
