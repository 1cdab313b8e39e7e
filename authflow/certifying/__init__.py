"""Certifying providers: does one keep the contract that the engine relies on, whatever is sent to it?

`authflow check-provider package.module:Class`, and the same as the pytest fixture `certify_provider`. What needs a
right answer needs somebody who can give one: see `kit`.
"""
