"""`python -m intraclip`."""

import atexit
import os
import sys

from intraclip.cli.main import main

code = main()
if "TORCHELASTIC_RUN_ID" in os.environ:
    # A thread of gloo that still lets go of a tensor while Python is taken down would abort the finished run.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
