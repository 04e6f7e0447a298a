"""`python -m converter convert-all` under its old name."""

import sys

from converter.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert-all", *sys.argv[1:]]))
