#!/usr/bin/env python
"""Runs a command of the example shop."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    # A checkout works without being installed.
    sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
