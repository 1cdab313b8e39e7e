"""Bring authflow along: build its wheel, and write a requirements.txt that pins it with all that it needs, by hash.

    python prepare.py

authflow is on no package index, so its wheel is uploaded with the shop. Arguments go to `pip wheel`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
AUTHFLOW = HERE.parents[1]
WHEELS = HERE / "wheels"


def main() -> None:
    for old in WHEELS.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(WHEELS)]
    subprocess.run([*pip, *sys.argv[1:], str(AUTHFLOW)], check=True)  # noqa: S603 - what the developer typed
    (wheel,) = WHEELS.glob("*.whl")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins = (AUTHFLOW / "requirements.txt").read_text(encoding="utf-8")
    # What the shop itself needs besides would stand here too, pinned in the same way.
    own = f"./wheels/{wheel.name} \\\n    --hash=sha256:{digest}\n"
    (HERE / "requirements.txt").write_text(pins + own, encoding="utf-8")
    print(f"requirements.txt pins {wheel.name}")


if __name__ == "__main__":
    main()
