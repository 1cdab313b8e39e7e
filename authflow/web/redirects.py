"""Where a redirect may lead: a path of our own, or an origin of an allow-list."""

from __future__ import annotations

import re
from collections.abc import Collection

MAX_LENGTH = 2000

# The characters of RFC 3986 and no others. That alone refuses what browsers strip (tab, line feed, blanks at the ends),
# what they read as a slash (backslash), and letters that become others (full-width forms).
_PATH = re.compile(
    r"/[\w\-.~!$&'()*+,;=:@/%\[\]]*(?:\?[\w\-.~!$&'()*+,;=:@/%\[\]?]*)?(?:#[\w\-.~!$&'()*+,;=:@/%?]*)?", re.A
)
_ABSOLUTE = re.compile(r"(https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]+)?)(?=[/?#]|\Z)", re.A)
# Within the path: a second slash at its start names a host; so it does after a dot segment or once somebody decodes it.
_UNSAFE = re.compile(r"//|/\.{1,2}(?:/|\Z)|%(?:2[ef5]|5c|[01][0-9a-f]|7f)", re.A | re.I)


def safe_path(target: str, *, default: str = "/", allowed_origins: Collection[str] = ()) -> str:
    """Return a target that a redirect may lead to, or the default.

    Args:
        target: What the request asked for: a path from the root with query and fragment, or an absolute address.
        default: Instead of everything else. Not checked.
        allowed_origins: Origins as a browser writes them, such as `https://app.example.org`: absolute addresses may
            start with one of these.
    """
    if len(target) > MAX_LENGTH:
        return default
    path = target
    if not target.startswith("/"):
        origin = _ABSOLUTE.match(target)
        if origin is None or origin[1] not in allowed_origins:
            return default
        path = target[origin.end() :]
        if not path.startswith("/"):
            path = "/" + path
    if _PATH.fullmatch(path) is None or _UNSAFE.search(re.split(r"[?#]", path, maxsplit=1)[0]):
        return default
    return target
