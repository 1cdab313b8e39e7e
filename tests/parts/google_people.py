"""People with Google accounts under the names that these tests know them by; see `authflow.testing.google_people`."""

from authflow.testing.google_people import ADAS_SUBJECT, BASE, CLIENT_ID, LINK, LOGIN, attribute, come, tell, token_on

__all__ = ["ADAS_SUBJECT", "BASE", "CLIENT_ID", "LINK", "LOGIN", "attribute", "come", "tell", "token_on"]
