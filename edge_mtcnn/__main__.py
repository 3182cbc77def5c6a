"""``python -m edge_mtcnn`` is the command ``edge-mtcnn``."""

import sys

from edge_mtcnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
