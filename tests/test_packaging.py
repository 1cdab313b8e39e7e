"""What the project says it needs, what it pins and what it imports are the same."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
DEV = [Requirement(text) for text in PROJECT["project"]["optional-dependencies"]["dev"]]
BUILD = [Requirement(text) for text in PROJECT["build-system"]["requires"]]

DECLARED = {
    "requirements.txt": RUNTIME,
    "requirements-dev.txt": RUNTIME + DEV,
    "requirements-build.txt": BUILD,
}

OURS = {"authflow", "providers", "tests", "benchmarks", "examples", "shop"}


def pins_of(file: str) -> dict[str, Requirement]:
    """Read one requirements file as canonical name -> `name==version ; marker`."""
    logical_lines = (ROOT / file).read_text().replace("\\\n", " ").splitlines()
    texts = [line.partition(" --hash=")[0].strip() for line in logical_lines]
    pins = [Requirement(text) for text in texts if text and not text.startswith("#")]
    assert len(pins) == len({canonicalize_name(pin.name) for pin in pins})
    return {canonicalize_name(pin.name): pin for pin in pins}


def version_of(pin: Requirement) -> str:
    """Return the version of `name==version`."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


def needed_here(declared: Iterable[Requirement]) -> set[str]:
    """Follow what the installed distributions require, as far as it applies to this machine."""
    needed: set[tuple[str, str]] = set()
    waiting = [(requirement, extra) for requirement in declared for extra in ("", *requirement.extras)]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) in needed:
            continue
        needed.add((name, extra))
        for text in distribution(name).requires or ():
            further = Requirement(text)
            if further.marker is None or further.marker.evaluate({"extra": extra}):
                waiting += [(further, wanted) for wanted in ("", *further.extras)]
    return {name for name, _ in needed}


def imports_of(folder: str) -> Iterator[tuple[str, Path]]:
    """Find what the Python files of a folder import from outside: top-level module and file."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=str(module), level=0, names=names):
                    modules = [module, *(f"{module}.{alias.name}" for alias in names)]
                case _:
                    continue
            yield from ((module, file.relative_to(ROOT)) for module in modules)


def undeclared_imports(folders: Iterable[str], declared: Iterable[Requirement]) -> set[str]:
    """Name the imports that no declared requirement brings."""
    names = {canonicalize_name(requirement.name) for requirement in declared}
    brought = packages_distributions()
    undeclared = set()
    for folder in folders:
        for module, file in imports_of(folder):
            top = module.partition(".")[0]
            if top in sys.stdlib_module_names or top in OURS:
                continue
            # A namespace such as `google` is brought by many; one of those that are declared is enough.
            if not names & {canonicalize_name(name) for name in brought.get(top, ())}:
                undeclared.add(f"{file} imports {top}")
    return undeclared


@pytest.mark.parametrize("file", DECLARED)
def test_every_declared_dependency_is_pinned_to_a_release_that_fits(file: str) -> None:
    pins = pins_of(file)

    missing = [str(one) for one in DECLARED[file] if canonicalize_name(one.name) not in pins]
    unfit = [
        f"{one} is pinned to {version}"
        for one in DECLARED[file]
        if (pin := pins.get(canonicalize_name(one.name)))
        and not one.specifier.contains(version := version_of(pin), prereleases=True)
    ]

    assert not missing, f"run scripts/lock: {missing}"
    assert not unfit, f"run scripts/lock: {unfit}"


@pytest.mark.parametrize("file", DECLARED)
def test_all_that_is_needed_is_pinned_and_nothing_else(file: str) -> None:
    here = {name for name, pin in pins_of(file).items() if pin.marker is None or pin.marker.evaluate()}

    assert here == needed_here(one for one in DECLARED[file] if one.marker is None or one.marker.evaluate())


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-build.txt"])
def test_the_tests_run_on_the_releases_that_are_deployed(file: str) -> None:
    tested = pins_of("requirements-dev.txt")

    assert {name: version_of(pin) for name, pin in pins_of(file).items()}.items() <= {
        name: version_of(pin) for name, pin in tested.items()
    }.items()


@pytest.mark.parametrize("file", DECLARED)
def test_a_requirements_file_holds_pins_with_hashes_and_no_address(file: str) -> None:
    pin = re.compile(r"[\w.-]+==[\w.+!]+( ; [^\\]+)?( --hash=sha256:[0-9a-f]{64})+")
    logical_lines = re.sub(r" *\\\n *", " ", (ROOT / file).read_text()).splitlines()

    lines = [line for line in logical_lines if not line.startswith("#")]

    assert lines
    assert [line for line in lines if not pin.fullmatch(line)] == []
    assert not re.search(r"://|^-| @ |/(home|root|tmp|work|Users)/", (ROOT / file).read_text(), re.MULTILINE)


def test_what_is_served_imports_declared_dependencies_only() -> None:
    # One module is loaded by pytest alone, through an entry point of pytest's: where it is loaded, pytest is there.
    assert undeclared_imports(["authflow", "providers"], RUNTIME) == {"authflow/certifying/plugin.py imports pytest"}


def test_the_examples_import_declared_dependencies_only() -> None:
    # One needs a library more, and says how to get it.
    assert undeclared_imports(["examples"], RUNTIME) == {"examples/passkey.py imports webauthn"}
    assert "pip install webauthn" in (ROOT / "examples" / "passkey.py").read_text()
    assert undeclared_imports(["examples"], RUNTIME + DEV) == set()


def test_googles_credentials_bring_the_transport_that_is_imported() -> None:
    """`google.auth.transport.requests` needs a distribution that google-auth brings with an extra alone."""
    imported = {module for module, _ in imports_of("authflow")}
    (google_auth,) = [one for one in RUNTIME if one.name == "google-auth"]

    assert "google.auth.transport.requests" in imported
    assert google_auth.extras == {"requests"}
    assert "requests" in pins_of("requirements.txt")


def test_what_is_tested_imports_declared_dependencies_only() -> None:
    assert undeclared_imports(["tests"], RUNTIME + DEV) == set()
