"""`python -m standalone {up,preview,destroy,outputs,owner,handover} --stack NAME`."""

import sys

from standalone.cli import main

sys.exit(main())
