"""Flows proved by exploring all that they can do: what `authflow flows check` runs. See `docs/proving.md`."""
