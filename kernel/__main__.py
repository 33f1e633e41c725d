"""`python -m kernel` is the command `caudex`."""

import sys

from kernel.cli.main import main

sys.exit(main())
