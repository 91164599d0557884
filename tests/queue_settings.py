"""Settings of the workers that tests start: ``CIO_QUEUES`` tells what the test has chosen."""

from __future__ import annotations

import json
import os

from .settings import *  # noqa: F403
from .settings import DATABASES

QUEUES = json.loads(os.environ["CIO_QUEUES"])
for _alias, _name in QUEUES["databases"].items():
    DATABASES[_alias]["NAME"] = _name
CUSTOMERIO = QUEUES["customerio"]
TASKS = QUEUES.get("tasks", {})
