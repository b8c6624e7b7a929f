"""`python -m vidpipe`: the command `vidpipe`, for where it is not on the PATH."""

import sys

from vidpipe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
