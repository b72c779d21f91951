"""`python -m mimseg` is the same as the command `mimseg`."""

import sys

from mimseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
