"""Serves the sandbox by itself: ``python -m django_customerio.sandbox [addr:port]``."""

from __future__ import annotations

import sys

from .standalone import main

if __name__ == "__main__":  # pragma: no branch
    sys.exit(main())
