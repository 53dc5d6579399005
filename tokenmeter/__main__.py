"""`python -m tokenmeter`: the command line."""

import sys

from tokenmeter.cli import main

if __name__ == "__main__":
    sys.exit(main())
