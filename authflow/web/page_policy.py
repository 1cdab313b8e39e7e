"""What a provider's own pages may load from elsewhere, beyond our policy for all pages, and how they are sent.

Declared by `Provider.page_sources` and `Provider.opens_popups`; checked when the app is built. Every other page, the
login page among them, keeps the strict policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from authflow.errors import ConfigurationError
from authflow.provider import Provider
from authflow.web.headers import RawHeader, content_security_policy

NONCE = "'nonce'"
"""A source that stands for a nonce made for each answer; the page gets it as `csp_nonce`."""

# What a page loads. What it may do, such as where its forms go or who may frame it, is not a provider's to change.
_DIRECTIVES = frozenset({"script-src", "style-src", "img-src", "font-src", "frame-src", "connect-src"})
# An https origin or a path below one, without wildcards; our own origin; the nonce. Nothing inline, no `eval`.
_SOURCE = re.compile(r"https://[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?|'self'|'nonce'", re.ASCII)
_OURS = {"style-src": ("'self'",), "img-src": ("'self'", "data:")}


@dataclass(frozen=True, slots=True)
class PagePolicy:
    """The headers of one provider's own pages.

    Attributes:
        policy: The content security policy; `NONCE` stands where a nonce belongs.
        opens_popups: Whether windows that the page opens may answer it.
    """

    policy: str
    opens_popups: bool

    def headers(self, nonce: str) -> list[RawHeader]:
        """Return the headers of one answer.

        Args:
            nonce: Fresh and unpredictable (CSP Level 3, section 7.1).
        """
        opener = "same-origin-allow-popups" if self.opens_popups else "same-origin"
        return [
            (b"content-security-policy", self.policy.replace(NONCE, f"'nonce-{nonce}'").encode()),
            (b"cross-origin-opener-policy", opener.encode()),
            # Whoever is embedded is told our origin, and nothing else: it must know for whom it is asked.
            (b"referrer-policy", b"strict-origin-when-cross-origin"),
        ]


def page_policies(providers: Iterable[Provider]) -> Mapping[str, PagePolicy]:
    """Return the policy of each provider that declares one, by its name.

    Raises:
        ConfigurationError: A directive or a source is not a provider's to declare.
    """
    return {p.name: _policy(p) for p in providers if p.page_sources or p.opens_popups}


def _policy(provider: Provider) -> PagePolicy:
    changes: dict[str, str] = {}
    for directive, declared in provider.page_sources.items():
        where = f"{type(provider).__name__}.page_sources"
        if directive not in _DIRECTIVES:
            raise ConfigurationError(f"{where}: {directive} is not one of {', '.join(sorted(_DIRECTIVES))}")
        for source in declared.split():
            if not _SOURCE.fullmatch(source):
                raise ConfigurationError(f"{where}: {source} is not an https address, 'self' or {NONCE}")
        changes[directive] = " ".join(dict.fromkeys((*_OURS.get(directive, ()), *declared.split())))
    return PagePolicy(content_security_policy(changes), provider.opens_popups)
