"""Workers that die: each command forks one that drains and kills itself at a given statement.

Run as a process of its own, without threads, so that it may fork. Commands are lines of JSON
on stdin: ``{"kill_at": 7, "when": "before", "settings": {…}, "database": "…"}``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import django


def drain(command: dict[str, Any]) -> None:
    from django.conf import settings
    from django.db import connections

    settings.CUSTOMERIO = command["settings"]
    connection = connections["default"]
    connection.settings_dict["NAME"] = command["database"]
    count = 0

    def kill(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal count
        count += 1
        mine = count == command["kill_at"]
        if mine and command["when"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = execute(sql, params, many, context)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    from django_customerio.delivery import drain

    with connection.execute_wrapper(kill):
        drain(using="default")


def main() -> None:
    django.setup()
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            drain(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
