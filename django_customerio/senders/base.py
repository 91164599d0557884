"""What a sender is."""

from __future__ import annotations


class Sender:
    """Drains the outbox, or gets somebody to do it. Subclass it for another way.

    Instances are made without arguments, once per process, and used by many threads.
    """

    def validate(self) -> None:
        """Look whether it can work with the site's settings, without asking anybody else.

        Raises:
            ImproperlyConfigured: it cannot; the text tells the cure.
        """

    def start(self) -> None:
        """A process begins to serve requests: look for what was left by an earlier one."""

    def wake(self, using: str, *, sweep: bool = False) -> None:
        """Something was committed on the database ``using``.

        Called after the commit, outside any transaction, in the thread of the caller, who
        waits: return at once. An exception is logged and goes no further.

        Args:
            sweep: old rows became pending again; begin at the beginning.
        """
        raise NotImplementedError

    def close(self) -> None:
        """The settings change, or the process ends."""
