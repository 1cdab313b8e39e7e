"""What a process on Google Cloud finds around it: the metadata server with its service account, and Secret Manager.

Both are one loopback server, which is also a proxy: a process that is given `environment` reaches it as
`https://secretmanager.googleapis.com`, through TLS, without knowing that it is not there.

with GoogleCloud(secrets={"login-keys": "..."}) as cloud:
    subprocess.run([...], env=os.environ | cloud.environment)
"""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deployment.certificate import make_certificate

PROJECT = "test-project"
TOKEN = "ya29.canary-of-the-access-token"
SECRET_MANAGER = "secretmanager.googleapis.com"


class GoogleCloud:
    """The two servers, in a thread while the context lasts.

    Args:
        secrets: By name, what the newest version of each holds.
        denied: Secrets that the service account may not read.
        disabled: Versions that are switched off, of any secret.
        answers: Statuses that Secret Manager answers with before it behaves; 0 cuts the connection.
        body: What it answers with instead of a secret.
        is_enabled: Whether the API is switched on in the project.
        hangs: Which of the two never answers (`"metadata"`, `"secrets"`).

    Attributes:
        asked: Versions that were asked for, one entry a request.
    """

    def __init__(
        self,
        *,
        secrets: Mapping[str, str | bytes] | None = None,
        denied: tuple[str, ...] = (),
        disabled: tuple[str, ...] = (),
        answers: tuple[int, ...] = (),
        body: bytes | None = None,
        is_enabled: bool = True,
        hangs: str = "",
    ) -> None:
        self.secrets = dict(secrets or {})
        self.denied = denied
        self.disabled = disabled
        self.answers = list(answers)
        self.body = body
        self.is_enabled = is_enabled
        self.hangs = hangs
        self.asked: list[str] = []
        self.released = threading.Event()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="google-cloud-")
        cafile, keyfile = make_certificate(Path(self._folder.name), SECRET_MANAGER)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(cafile, keyfile)
        self._cafile = cafile
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    @property
    def endpoint(self) -> str:
        """Secret Manager without TLS."""
        return f"http://{self.host}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find all of it."""
        return {
            "GCE_METADATA_HOST": self.host,
            "GCE_METADATA_IP": self.host,
            "HTTPS_PROXY": f"http://{self.host}",
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(self._cafile),
            # No credentials of whoever runs the tests.
            "CLOUDSDK_CONFIG": self._folder.name,
        }

    def secret(self, path: str) -> tuple[int, bytes]:
        """Answer `projects.secrets.versions.access` (Secret Manager API v1)."""
        name = path.removeprefix("/v1/").removesuffix(":access")
        self.asked.append(name)
        _, project, _, secret, _, version = name.split("/")
        if self.answers:
            return self.answers.pop(0), b"{}"
        if not self.is_enabled:
            return 403, json.dumps({"error": {"details": [{"reason": "SERVICE_DISABLED"}]}}).encode()
        if secret in self.denied or project != PROJECT:
            return 403, json.dumps({"error": {"status": "PERMISSION_DENIED"}}).encode()
        if secret not in self.secrets:
            return 404, json.dumps({"error": {"status": "NOT_FOUND"}}).encode()
        if version in self.disabled:
            return 400, json.dumps({"error": {"status": "FAILED_PRECONDITION"}}).encode()
        if self.body is not None:
            return 200, self.body
        held = self.secrets[secret]
        data = base64.b64encode(held.encode() if isinstance(held, str) else held).decode()
        return 200, json.dumps({"name": name, "payload": {"data": data}}).encode()


_METADATA: Mapping[str, object] = {
    "/computeMetadata/v1/project/project-id": PROJECT,
    "/computeMetadata/v1/universe/universe-domain": "googleapis.com",
    "/computeMetadata/v1/instance/service-accounts/default/": {
        "email": f"{PROJECT}@appspot.gserviceaccount.com",
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    },
    "/computeMetadata/v1/instance/service-accounts/default/token": {
        "access_token": TOKEN,
        "expires_in": 3599,
        "token_type": "Bearer",
    },
}


def _handler(cloud: GoogleCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            if self.path != f"{SECRET_MANAGER}:443":
                self._send(403, b"")
                return
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with contextlib.suppress(OSError):
                self.connection = cloud.tls.wrap_socket(self.connection, server_side=True)
                self.setup_streams()
                self.close_connection = False

        def setup_streams(self) -> None:
            self.rfile = self.connection.makefile("rb", -1)
            self.wfile = self.connection.makefile("wb", 0)  # type: ignore[assignment]

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            is_secret = path.startswith("/v1/projects/")
            if cloud.hangs == ("secrets" if is_secret else "metadata"):
                cloud.released.wait(60)
            if is_secret and self.headers["Authorization"] != f"Bearer {TOKEN}":
                self._send(401, b"{}")
            elif is_secret:
                self._answer_secret(path)
            elif path == "/":
                self._send(200, b"", metadata=True)
            elif path in _METADATA:
                found = _METADATA[path]
                is_text = isinstance(found, str)
                body = found.encode() if isinstance(found, str) else json.dumps(found).encode()
                self._send(200, body, "text/plain" if is_text else "application/json", metadata=True)
            else:
                self._send(404, b"", metadata=True)

        def _answer_secret(self, path: str) -> None:
            status, body = cloud.secret(path)
            if status:
                self._send(status, body)
            else:
                self.close_connection = True

        def _send(self, status: int, body: bytes, kind: str = "application/json", *, metadata: bool = False) -> None:
            lines = [f"HTTP/1.1 {status} x", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
            if metadata:
                lines.append("Metadata-Flavor: Google")
            self.wfile.write("\r\n".join([*lines, "", ""]).encode() + body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
