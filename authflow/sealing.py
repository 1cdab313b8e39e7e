"""How a flow is named and carried by forms: sealed while it travels, a short handle once it is stored."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from authflow.errors import FlowInvalid
from authflow.flow import Flow
from authflow.records import Vault
from authflow.tokens import BadToken, Keyring, decode, encode

_STORED = "s."
_TRAVELS = "t."
_HANDLE = re.compile(r"s\.([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{0,64})", re.ASCII)


def is_reference(text: str) -> bool:
    """Whether a text looks like what our forms name a flow by. Says nothing of whether it is a good one."""
    return text.startswith(_TRAVELS) or _HANDLE.fullmatch(text) is not None


class FlowSealer:
    """Signs travelling flows together with the browser they belong to."""

    def __init__(self, keyring: Keyring, vault: Vault) -> None:
        self._signer = keyring.signer("flow")
        self._vault = vault

    def seal(self, flow: Flow, browser_id: str) -> str:
        """Return a flow as text that is good in this browser alone; its scratch area is encrypted within."""
        body = encode(json.dumps(self._vault.flow_data(flow), separators=(",", ":")).encode())
        signature = self._signer.sign(f"{body}.{browser_id}").rpartition(".")[2]
        return f"{_TRAVELS}{body}.{signature}"

    def open(self, text: str, browser_id: str) -> Flow:
        """Read a sealed flow.

        Raises:
            FlowInvalid: It is forged, of another browser, or no flow that travels.
        """
        body, _, signature = text.removeprefix(_TRAVELS).rpartition(".")
        # A dot in the body could stand for the one before the browser's id.
        if not text.startswith(_TRAVELS) or not browser_id or not body or "." in body:
            raise FlowInvalid("not a travelling flow of this browser")
        if self._signer.unsign(f"{body}.{browser_id}.{signature}") is None:
            raise FlowInvalid("the flow was not sealed for this browser")
        try:
            return self._vault.flow(json.loads(decode(body)))
        except (ValueError, KeyError, TypeError, BadToken) as error:
            raise FlowInvalid("the sealed flow cannot be read") from error

    def handle(self, flow: Flow) -> str:
        """Return the handle of a stored flow: its id, and its subject as a hint that saves a round trip."""
        return f"{_STORED}{flow.id}.{flow.subject}"

    def read_handle(self, text: str) -> tuple[str, str]:
        """Read a handle into flow id and subject hint; both are empty for none. The hint is never believed.

        Raises:
            FlowInvalid: It is no handle. Both parts become names of records, so nothing but our own alphabet passes.
        """
        if not text:
            return "", ""
        found = _HANDLE.fullmatch(text)
        if found is None:
            raise FlowInvalid("not a handle of a stored flow")
        return found[1], found[2]

    def with_state(self, url: str, flow: Flow, browser_id: str) -> str:
        """Add `state` to the address of a remote party (RFC 6749, section 10.12): the sealed flow, or its handle."""
        state = self.handle(flow) if flow.proofs else self.seal(flow, browser_id)
        parts = urlsplit(url)
        query = [*parse_qsl(parts.query, keep_blank_values=True), ("state", state)]
        return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))
