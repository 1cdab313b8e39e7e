"""The local Google as a program: `AUTHFLOW_TESTING=1 python -m authflow.testing.serve_google --audience CLIENT_ID`.

Serves until it is ended, and prints one line of JSON: where the certificates are, and a token.
"""

from __future__ import annotations

import argparse
import json
import threading

from authflow.testing.google import GoogleIssuer


def main() -> None:
    """Serve, and print the address and a token for `--audience`."""
    parser = argparse.ArgumentParser(prog="authflow.testing.serve_google")
    parser.add_argument("--audience", default="client-id", help="the client id that the token is for")
    parser.add_argument("--sub", default="1", help="whom the token is about")
    arguments = parser.parse_args()
    with GoogleIssuer() as google:
        token = google.id_token(aud=arguments.audience, sub=arguments.sub, email="ada@example.org", email_verified=True)
        print(json.dumps({"certs_url": google.certs_url, "token": token}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
