"""The issuer is the one that was named, byte for byte, and no file says where it came from."""

from __future__ import annotations

import json
from typing import Any

from tests.parts.openid_provider import SOURCE


def test_the_openid_issuer_is_pinned_with_hashes_and_names_no_address() -> None:
    wanted = json.loads((SOURCE / "package.json").read_text(encoding="utf-8"))
    lock: dict[str, Any] = json.loads((SOURCE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {path: package for path, package in lock["packages"].items() if path}

    for name, version in wanted["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
