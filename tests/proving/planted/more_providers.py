"""Providers of faulty applications that are themselves in order."""

from __future__ import annotations

from providers.time_based_otp import TimeBasedOTP


class Another(TimeBasedOTP):
    name, label, path, method_name = "another_factor", "Another app", "f2_another", "X-ANOTHER"
