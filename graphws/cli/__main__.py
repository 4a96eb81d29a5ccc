"""``python -m graphws.cli``: the ``graphws`` command."""

import sys

from graphws.cli import main

sys.exit(main())
