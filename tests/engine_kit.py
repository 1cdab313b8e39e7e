"""The engine kit under the name that these tests know it by; see `authflow.testing.kit`."""

from authflow.testing.clock import START, Clock
from authflow.testing.kit import KEY, Kit, browser, make_kit
from authflow.testing.person import PASSWORD

__all__ = ["KEY", "PASSWORD", "START", "Clock", "Kit", "browser", "make_kit"]
