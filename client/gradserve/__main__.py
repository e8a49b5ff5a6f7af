"""`python -m gradserve` is the command line."""

import sys

from gradserve.cli import main

if __name__ == "__main__":
    sys.exit(main())
