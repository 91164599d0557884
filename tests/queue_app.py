"""The Celery app of the workers that tests start."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.queue_settings")


def configure(app: Celery, broker: str, queue: str) -> None:
    """The same for the test and for its workers: a queue of their own."""
    app.conf.update(
        broker_url=broker,
        task_default_queue=queue,
        task_default_exchange=queue,
        task_default_routing_key=queue,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
        beat_schedule={"customerio": {"task": "django_customerio.sweep", "schedule": 1.0}},
    )


if os.environ.get("DJANGO_SETTINGS_MODULE") == "tests.queue_settings":
    from tests.queue_settings import QUEUES

    app = Celery("shop")
    configure(app, QUEUES["broker"], QUEUES["queue"])
    app.autodiscover_tasks()
