"""The child process: one uvicorn worker, pinned to a core. `python -m benchmarks.serve APP PORT CORE`.

On SIGUSR1 it writes the number of loaded modules to its standard output.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    app, port, core = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if core >= 0:
        os.sched_setaffinity(0, {core})

    import uvicorn

    signal.signal(signal.SIGUSR1, lambda *_: print(len(sys.modules), flush=True))
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning")
