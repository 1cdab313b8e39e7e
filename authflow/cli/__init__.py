"""The command line: `authflow`. One file per group of commands, each importing what it needs when it is run.

Exit codes: 0 done; 2 it cannot be carried out as put (usage, duplicate, unknown name, bad value or setting); 1 a check
found something, or there was a fault. What went wrong is one line on stderr.
"""

from authflow.cli.main import main

__all__ = ["main"]
