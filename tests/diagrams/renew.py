"""Writes the golden files anew: `python -m tests.diagrams.renew`. Read what has changed before you commit it."""

from tests.diagrams.kit import GOLDEN, made

for name, content in made().items():
    (GOLDEN / name).write_text(content, encoding="utf-8")
