"""System checks: what is wrong with the settings, the databases or a map, and the cure.

Ids are stable: ``E`` stops ``manage.py``, ``W`` does not. The numbers below 10 are about
settings, from 10 on about databases and from 20 on about maps. None opens a connection, so
they run without ``--database``. All have the tag ``customerio``.
"""

from __future__ import annotations

from django.core.checks import Tags, register

from .databases import check_databases, check_sqlite
from .maps import check_maps
from .settings import (
    check_addresses,
    check_environment,
    check_sender,
    check_settings,
    check_task_queue,
)

TAG = "customerio"


def register_all() -> None:
    """Register every check with Django. Registering again changes nothing."""
    for check in (check_settings, check_environment, check_sender, check_task_queue):
        register(check, TAG)
    for check in (check_databases, check_sqlite):
        register(check, TAG)
    register(check_addresses, TAG, Tags.security)
    register(check_maps, TAG, Tags.models)
