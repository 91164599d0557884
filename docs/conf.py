"""Sphinx settings."""

from __future__ import annotations

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

project = "django-customerio"
author = "The django-customerio developers"
copyright = f"2026, {author}"
release = version = _project["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.strikethrough"]
exclude_patterns = ["_build"]
nitpicky = True

html_theme = "furo"
html_title = f"django-customerio {release}"
html_show_sphinx = False
