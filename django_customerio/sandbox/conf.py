"""The sandbox's settings: ``CUSTOMERIO_SANDBOX``, a dict; every key may be left out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEYS = ("SITE_ID", "API_KEY", "REGION", "ALLOW", "EMAIL_IDENTIFIES", "EMAIL_CHANGES")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """What the sandbox needs to know.

    Args:
        site_id: Site ID that callers must show; by default that of the workspace
            ``"default"`` in ``CUSTOMERIO``.
        api_key: Track API key, likewise.
        region: ``"us"`` or ``"eu"``, answered by the region look-up.
        allow: Serve although ``DEBUG`` is false.
        email_identifies: Workspace setting "email is an identifier".
        email_changes: Workspace setting "allow updates to email using ID".
    """

    site_id: str = ""
    api_key: str = ""
    region: str = "us"
    allow: bool = False
    email_identifies: bool = True
    email_changes: bool = True

    def __repr__(self) -> str:
        shown = (f.name for f in fields(self) if f.name not in {"site_id", "api_key"})
        return f"SandboxSettings({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"


def get_sandbox_settings() -> SandboxSettings:
    """Reads ``CUSTOMERIO_SANDBOX``.

    Raises:
        ImproperlyConfigured: It is no dict, or has a key or a type that is not known.
    """
    given: Any = getattr(settings, "CUSTOMERIO_SANDBOX", {})
    if not isinstance(given, dict):
        raise ImproperlyConfigured("CUSTOMERIO_SANDBOX must be a dict.")
    if unknown := sorted(set(map(str, given)) - set(KEYS)):
        raise ImproperlyConfigured(
            f"CUSTOMERIO_SANDBOX has an unknown key {unknown[0]!r}; known are {', '.join(KEYS)}."
        )
    values = {key.lower(): value for key, value in given.items()}
    for key, value in values.items():
        expected = type(getattr(SandboxSettings(), key))
        if not isinstance(value, expected):
            raise ImproperlyConfigured(
                f"CUSTOMERIO_SANDBOX[{key.upper()!r}] must be a {expected.__name__}."
            )
    if values.get("region", "us") not in {"us", "eu"}:
        raise ImproperlyConfigured('CUSTOMERIO_SANDBOX["REGION"] must be "us" or "eu".')
    if "site_id" not in values and "api_key" not in values:
        # The product's own settings are read only when needed: the sandbox also runs alone.
        from django_customerio.conf import get_workspace

        workspace = get_workspace()
        values |= {"site_id": workspace.site_id, "api_key": workspace.api_key}
    return SandboxSettings(**values)


def is_enabled() -> bool:
    """Whether the sandbox serves at all: only while developing, or where it was allowed."""
    return bool(settings.DEBUG) or get_sandbox_settings().allow
