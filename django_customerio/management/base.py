"""What every command is: it ends with a sentence where something keeps it from working."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import Error as DatabaseError

from . import options as shared


class CustomerIOCommand(BaseCommand):
    """A command whose errors are plain sentences, on a terminal without a class's name."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run as ever. With ``--traceback`` errors are shown as they are.

        Raises:
            CommandError: it could not do its work; exit code 2 where a system check found an
                error, or tables are missing.
        """
        try:
            return super().execute(*args, **options)
        except SystemCheckError as error:
            # Exit code 1 is what a command says of messages; settings are told apart.
            error.returncode = shared.WRONG_SETTINGS
            raise
        except CommandError as error:
            if options.get("traceback"):
                raise
            ending = error
        except DatabaseError:
            if options.get("traceback"):
                raise
            try:
                shared.require_tables(shared.databases(options.get("database")))
            except CommandError as error:
                ending = error
            else:
                raise
        if not self._called_from_command_line:  # type: ignore[attr-defined]
            raise ending from None
        self.stderr.write(str(ending))
        sys.exit(ending.returncode)
