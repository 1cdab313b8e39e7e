"""What the server's access log may hold: paths, and never the queries of mailed links."""

from __future__ import annotations

import logging


class PathsAlone(logging.Filter):
    """Cuts queries out of the access log: those of mailed links are secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        # uvicorn's own arguments: client, method, path with query, HTTP version, status.
        if isinstance(record.args, tuple) and len(record.args) == 5 and isinstance(record.args[2], str):
            client, method, path, *rest = record.args
            record.args = (client, method, str(path).partition("?")[0], *rest)
        return True
