"""`python -m intraclip`."""

import sys

from intraclip.cli.main import main

sys.exit(main())
