"""Deferred work: records of the outbox, written in the commit they follow from and carried out after it."""
