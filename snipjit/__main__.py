"""``python -m snipjit``: the same as the ``snipjit`` command."""

import sys

from snipjit.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
