"""Helpers that several test modules share: real parts, fakes, builders."""
