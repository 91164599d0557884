"""System checks of the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from .conf import get_sandbox_settings, is_enabled


def check_enabled(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Refuses a sandbox in production, and one that could let nobody in."""
    try:
        enabled, wanted = is_enabled(), get_sandbox_settings()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="customerio_sandbox.E001")]
    if not enabled:
        return [
            Error(
                "The Customer.io sandbox is installed although DEBUG is False.",
                hint=(
                    "Remove django_customerio.sandbox from INSTALLED_APPS, or set "
                    'CUSTOMERIO_SANDBOX["ALLOW"] = True where nobody else can reach it.'
                ),
                id="customerio_sandbox.E002",
            )
        ]
    if not (wanted.site_id and wanted.api_key):
        return [
            Error(
                "The Customer.io sandbox has no credentials to compare with.",
                hint='Set CUSTOMERIO_SANDBOX["SITE_ID"] and ["API_KEY"], or those of CUSTOMERIO.',
                id="customerio_sandbox.E003",
            )
        ]
    return []
