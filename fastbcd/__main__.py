"""``python -m fastbcd`` is the ``fastbcd`` command."""

from __future__ import annotations

import sys

from fastbcd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
