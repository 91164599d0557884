"""The sandbox as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.utils.translation import gettext_lazy as _


class SandboxConfig(AppConfig):
    name = "django_customerio.sandbox"
    label = "customerio_sandbox"
    verbose_name = _("Customer.io sandbox")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .checks import check_enabled

        checks.register(check_enabled, checks.Tags.security)
