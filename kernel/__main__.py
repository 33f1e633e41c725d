"""`python -m kernel` is the command `caudex`."""

import sys

from kernel.cli import main

sys.exit(main())
