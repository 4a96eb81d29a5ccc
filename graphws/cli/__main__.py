"""``python -m graphws.cli``: the ``graphws`` command."""

import sys

from graphws.cli import main

if __name__ == "__main__":
    sys.exit(main())
