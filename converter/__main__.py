"""`python -m converter`."""

import gc
import os
import sys

from converter.cli.main import main

if __name__ == "__main__":
    # What importing PyTorch makes stays; to look it over for garbage takes a tenth of the time.
    gc.set_threshold(100_000)
    # Both frameworks run at once; each gets half of the cores, or they would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    sys.exit(main())
