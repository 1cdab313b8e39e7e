"""`app`: built from the environment. What servers load."""

import logging
import multiprocessing
import os
import signal
import threading

from authflow.assembly import build
from authflow.settings import from_environment
from authflow.web.access_log import PathsAlone
from authflow.web.app import create_app

app = create_app(build(from_environment()))


def _end_with_supervisor() -> None:
    """End when the process that started this worker is gone.

    After a SIGKILL it can end nobody, and its orphans would hold the port and serve on.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def watch() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="authflow-supervisor", daemon=True).start()


_end_with_supervisor()
logging.getLogger("uvicorn.access").addFilter(PathsAlone())
