"""What a person types as name: its one look-up key, and whether it is a mail address.

Two spellings are the same name only where the protocols say so: ASCII letters in either case, and a domain in Unicode
or in its A-label form (RFC 5890). Nothing else is folded. Case folding, NFC and NFKC map the Kelvin sign to `k`, the
long s to `s`, the dotless i to `I` and full-width letters to ASCII: with any of them a look-alike address would find
somebody else's account (CVE-2019-19844). So a name with other letters than ASCII is kept exactly as it was typed.
"""

from __future__ import annotations

from authflow.errors import BadInput

MAX_NAME_BYTES = 254
"""Longest name, as typed and as key; the limit of a mail address (RFC 5321, section 4.5.3.1.3 with erratum 1690)."""


def canonical_name(text: str) -> str:
    """Make the key by which a typed name is looked up.

    Surrounding ASCII spaces go. A name with an `@` is an address and is split at the last one: the local part is
    lower-cased if it is ASCII and kept exactly otherwise; the domain becomes lower-case A-labels. A name without `@` is
    treated like a local part. The result is its own canonical name.

    Args:
        text: What was typed. Full-width and other at-signs are ordinary characters here, never a separator.

    Raises:
        BadInput: The name is empty or longer than `MAX_NAME_BYTES`; it has control, format or unassigned characters,
            line separators, spaces other than U+0020 or lone surrogates; a side of the `@` is empty; or the domain is
            not valid in IDNA 2008.
    """
    name = text.strip(" ")
    # `isprintable` is false for just the characters above; a name that nobody can see or type again is a trap.
    if not name or len(name) > MAX_NAME_BYTES or not name.isprintable() or name[0] == "@" or name[-1] == "@":
        raise BadInput("name: empty, too long, or with characters that a name cannot have")
    if name.isascii():
        return name.lower()
    local, at, domain = name.rpartition("@")
    if at:
        if local.isascii():
            local = local.lower()
        name = f"{local}@{_ascii_domain(domain)}"
    if len(name.encode()) > MAX_NAME_BYTES:
        raise BadInput("name: too long")
    return name


def mail_address(text: str) -> str:
    """Check that a typed name is a mail address, and return the form to store and to send to.

    The local part stays as it was typed, as its case may matter to the host that owns it (RFC 5321, section 2.4); the
    domain becomes lower-case A-labels. Whether such a mailbox exists is not asked. `localhost` and the special-use
    domains of RFC 6761 are accepted; quoted local parts, address literals and display names are not.

    Raises:
        BadInput: It is no such address.
    """
    name = canonical_name(text)
    domain = name.rpartition("@")[2]
    local = text.strip(" ").rpartition("@")[0]
    top = domain.rpartition(".")[2]
    if not local or top.isdigit() or (top == domain and domain != "localhost"):
        raise BadInput("mail address: not local-part@domain")
    from email_validator import EmailNotValidError, validate_email

    try:
        # The library refuses special-use domains by a list that is global to the process. An inert last label gets
        # past it and leaves the host application's list alone.
        validate_email(f"{local}@{domain}.x", check_deliverability=False)
    except EmailNotValidError as error:
        raise BadInput("mail address: refused by its syntax") from error
    return f"{local}@{domain}"


def is_mail_address(text: str) -> bool:
    """Tell whether `mail_address` accepts this text."""
    try:
        mail_address(text)
    except BadInput:
        return False
    return True


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain.lower()
    import idna

    try:
        # Label by label: `idna.encode` takes ideographic full stops for dots, and UTS 46 mapping folds look-alikes.
        labels = [
            label.lower() if label.isascii() else idna.alabel(_lower_ascii(label)).decode("ascii")
            for label in domain.split(".")
        ]
    except idna.IDNAError as error:
        raise BadInput("name: the domain is not valid in IDNA 2008") from error
    return ".".join(labels)


def _lower_ascii(label: str) -> str:
    # `str.lower` of the whole label would turn the Kelvin sign into `k`.
    return "".join(char.lower() if char.isascii() else char for char in label)
