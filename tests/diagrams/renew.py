"""Writes the golden files, and what is made of docs/flows.md: `python -m tests.diagrams.renew`.

Read what has changed before you commit it.
"""

from tests.diagrams.kit import GOLDEN, PAGE, PICTURES, blocks, made, page_with, pictures

for name, content in made().items():
    (GOLDEN / name).write_text(content, encoding="utf-8")
for name, content in pictures().items():
    (PICTURES / name).write_text(content, encoding="utf-8")
PAGE.write_text(page_with(blocks(), PAGE.read_text(encoding="utf-8")), encoding="utf-8")
