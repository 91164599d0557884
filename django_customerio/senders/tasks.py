"""Workers of ``django.tasks`` drain, whichever backend the site has chosen.

With Django 5.2 that is the backport ``django_tasks``. The backend must have workers: the two
that Django brings would send inside the web request, or never.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.module_loading import import_string

from django_customerio.conf import get_settings

from .remote import RemoteSender

NAME = "customerio"
"""An alias in TASKS, or a queue of the backend, of this name is taken before ``default``."""


def library() -> Any:
    """``django.tasks``, or the backport where Django has none.

    Raises:
        ImproperlyConfigured: neither is there.
    """
    for name in ("django.tasks", "django_tasks"):
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise ImproperlyConfigured(
        f'{get_settings().path("SENDER")} is "tasks", but this Django has no django.tasks, and '
        'the backport is not installed. Run: pip install "django-customerio[tasks]"'
    )


def route() -> tuple[str, str]:
    """The alias in TASKS and the queue that our task takes.

    Raises:
        ImproperlyConfigured: there is none that has workers.
    """
    tasks = library()
    alias = NAME if NAME in tasks.task_backends else "default"
    where = f'TASKS["{alias}"]'
    problem = f'{get_settings().path("SENDER")} is "tasks", but {where}'
    try:
        backend = tasks.task_backends[alias]
    except Exception as error:
        raise ImproperlyConfigured(
            f"{problem} cannot be used ({type(error).__name__}). Set it to a backend of "
            "django.tasks that has workers."
        ) from None
    for path in ("immediate.ImmediateBackend", "dummy.DummyBackend"):
        if isinstance(backend, import_string(f"{tasks.__name__}.backends.{path}")):
            raise ImproperlyConfigured(
                f"{problem} is {type(backend).__name__}, which has no workers: tasks would run "
                "inside the web request, or never. Set it to a backend that has, such as "
                'django_tasks_db.DatabaseBackend, or choose the sender "thread".'
            )
    for queue in (NAME, "default"):
        # None at all stands for any.
        if queue in (backend.queues or ("default",)):
            return alias, queue
    raise ImproperlyConfigured(
        f'{problem} has neither a queue "{NAME}" nor "default". Add one to its QUEUES, and let '
        "a worker take it."
    )


class TasksSender(RemoteSender):
    """Enqueues a task after commits."""

    def validate(self) -> None:
        """See whether a backend with workers is configured."""
        route()

    def can_delay(self) -> bool:
        """Whether the backend takes ``run_after``."""
        return bool(library().task_backends[route()[0]].supports_defer)

    def send(self, using: str, *, sweep: bool, delay: float) -> None:
        """Enqueue one task."""
        # Only now: making a task makes its backend.
        drain = import_string("django_customerio.senders.drain_task.drain")
        alias, queue = route()
        task = drain.using(
            backend=alias,
            queue_name=queue,
            run_after=timezone.now() + timedelta(seconds=delay) if delay else None,
        )
        task.enqueue(using, sweep=sweep)
