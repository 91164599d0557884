"""A process with ``QUEUE = "memory"`` that ends in the way its argument names."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys


def late() -> None:
    """Say something when the package has already heard of the end."""
    import django_customerio as cio

    cio.track("42", "late")


def child() -> None:
    import django_customerio as cio

    cio.track("42", "child")


def main(end: str) -> None:
    # First of all: these run in reverse order.
    if end == "late":
        atexit.register(late)
    import django

    django.setup()
    import django_customerio as cio
    from django_customerio import buffer

    cio.track("42", "first")
    cio.track("42", "second")
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif end == "fork":
        if not os.fork():
            child()
            sys.exit()
        os.wait()
    elif end == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
    elif end == "flush":
        buffer.flush()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
