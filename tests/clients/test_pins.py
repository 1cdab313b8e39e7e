"""The programs are those that were named, byte for byte, and no file says where they came from."""

from __future__ import annotations

import json
from typing import Any

from tests.parts.viur_clients import REQUIREMENTS
from tests.parts.vue_login import SOURCE


def test_the_python_clients_are_pinned_with_hashes_and_name_no_address() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    pins = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]

    names = {pin.split(" ")[0] for pin in pins}
    assert {"viur-cli==3.1.1", "viur-scriptor-api==1.16.1"} <= names
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
    assert "://" not in text
    assert "--index-url" not in text


def test_the_login_screen_is_pinned_with_hashes_and_names_no_address() -> None:
    wanted = json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    lock: dict[str, Any] = json.loads((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {path: package for path, package in lock["packages"].items() if path}

    assert wanted["dependencies"]["@viur/vue-utils"] == "3.3.1"
    for name, version in (wanted["dependencies"] | wanted["devDependencies"] | wanted["overrides"]).items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
