"""`app`: built from the environment. What servers load."""

from authflow.assembly import build
from authflow.settings import from_environment
from authflow.web.app import create_app

app = create_app(build(from_environment()))
