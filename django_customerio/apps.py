"""The app's start: checks, receivers and the maps of other apps. No database, no network."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class CustomerIOConfig(AppConfig):
    """Registered as ``"django_customerio"`` in ``INSTALLED_APPS``."""

    name = "django_customerio"
    label = "django_customerio"
    verbose_name = "Customer.io"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks, read each app's ``customerio_maps`` and connect the receivers.

        Safe to run again, as ``modify_settings(INSTALLED_APPS=…)`` does.
        """
        # Here, as these need the models.
        from . import cause, checks, observe, receivers, senders

        checks.register_all()
        autodiscover_modules("customerio_maps")
        receivers.connect_all()
        observe.connect()
        cause.connect()
        senders.connect()
