"""A mailbox in the place of a mail server: keeps mails, finds what people look for in them, and fails when told to."""

from __future__ import annotations

import re

from authflow.mail.protocol import Mail, MailUnavailable


class Mailbox:
    """A mail transport that keeps the mails.

    Attributes:
        mails: Oldest first.
    """

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self._faults: list[tuple[Exception, bool]] = []

    async def send(self, mail: Mail) -> None:
        """See `MailTransport.send`."""
        error, is_late = self._faults.pop(0) if self._faults else (None, False)
        if error is None or is_late:
            self.mails.append(mail)
        if error is not None:
            raise error

    def fail(self, error: Exception | None = None, *, times: int = 1, is_late: bool = False) -> None:
        """Fail at the next mails.

        Args:
            error: What is raised: `MailUnavailable` unless given, or `MailRefused` for good.
            is_late: The mail is delivered all the same, and only the answer is lost.
        """
        failure = error or MailUnavailable("the mailbox was told to fail")
        self._faults += [(failure, is_late)] * times

    def last(self) -> Mail:
        """Return the newest mail.

        Raises:
            LookupError: There is none.
        """
        if not self.mails:
            raise LookupError("no mail has come")
        return self.mails[-1]

    def to(self, address: str) -> list[Mail]:
        """Return the mails to one address."""
        return [mail for mail in self.mails if mail.to == address]

    def link(self, base_url: str, *, to: str = "") -> str:
        """Return the newest mailed address that holds a key, without its origin.

        Args:
            base_url: Whose links are looked for.
            to: Only in mails to this address.

        Raises:
            LookupError: No mail holds one.
        """
        return self._newest(re.compile(re.escape(base_url) + r"(\S+=\S+)"), to, "link with a key")

    def code(self, *, digits: int = 6, to: str = "") -> str:
        """Return the newest mailed code, which stands on a line of its own.

        Raises:
            LookupError: No mail holds one.
        """
        return self._newest(re.compile(rf"^\s*(\d{{{digits}}})\s*$", re.M), to, f"code of {digits} digits")

    def _newest(self, pattern: re.Pattern[str], to: str, wanted: str) -> str:
        for mail in reversed(self.to(to) if to else self.mails):
            if found := pattern.search(mail.text):
                return found[1]
        raise LookupError(f"no {wanted} among {[mail.subject for mail in self.mails]}")
