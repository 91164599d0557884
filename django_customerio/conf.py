"""The setting ``CUSTOMERIO``, or the environment, as frozen and typed values.

Read at use, never at import; kept for the life of the process and forgotten when
``setting_changed`` names ``CUSTOMERIO``. A wrong value raises ``ImproperlyConfigured`` that
names the setting by its full path, the accepted values and the cure, and never the value of
a credential or an address.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from . import environment
from .validators import CONNECTION, GLOBAL, is_alias, listing, suggest

TRACK_URLS = {"us": "https://track.customer.io", "eu": "https://track-eu.customer.io"}
APP_URLS = {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceSettings:
    """How to reach one Customer.io workspace.

    ``site`` and ``key_hash`` are the first 16 hexadecimal digits of the SHA-256 of the site
    id and of the API key ("" without one): they mark rows and pauses without telling either.
    """

    alias: str
    site_id: str = ""
    api_key: str = field(default="", repr=False)
    app_api_key: str = field(default="", repr=False)
    region: str = "us"
    track_url: str = ""
    app_url: str = ""
    site: str = field(init=False)
    key_hash: str = field(init=False)

    def __post_init__(self) -> None:
        for name, value in (
            ("track_url", self.track_url or TRACK_URLS[self.region]),
            ("app_url", self.app_url or APP_URLS[self.region]),
            ("site", _digest(self.site_id)),
            ("key_hash", _digest(self.api_key)),
        ):
            object.__setattr__(self, name, value)

    @property
    def configured(self) -> bool:
        """Whether the Track API can be used: site id and API key are both known."""
        return bool(self.site_id and self.api_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. Durations that are floats are seconds."""

    enabled: bool = True
    queue: str = "outbox"
    memory_size: int = 100
    """Messages that the queue "memory" writes at once; the limit bounds what waits."""
    memory_seconds: float = 5.0
    memory_limit: int = 10_000
    sender: str = "thread"
    keep_sent: timedelta | None = timedelta(days=30)
    """How long the ledger is kept; None keeps none."""
    databases: tuple[str, ...] | None = None
    """Aliases with an outbox; None takes every alias on which the router allows it."""
    release: str = ""
    timeout: float = 10.0
    retries: int = 3
    retry_base: float = 1.0
    retry_cap: float = 10.0
    lease: float = 30.0
    workspaces: Mapping[str, WorkspaceSettings] = field(
        default_factory=lambda: MappingProxyType({"default": WorkspaceSettings(alias="default")})
    )
    shape: Literal["one", "several", "environment"] = "one"
    """How it was written: one workspace, WORKSPACES, or the environment."""

    def path(self, key: str, *, workspace: str = "default") -> str:
        """Spell out where ``key`` is set, for messages: ``CUSTOMERIO["REGION"]``."""
        if self.shape == "environment":
            return f"{environment.PREFIX}{key}"
        if key in CONNECTION and self.shape == "several":
            return f'CUSTOMERIO["WORKSPACES"]["{workspace}"]["{key}"]'
        return f'CUSTOMERIO["{key}"]'


@cache
def get_settings() -> Settings:
    """The settings of this process.

    Raises:
        ImproperlyConfigured: something is wrong with them; the text names what and the cure.
    """
    if hasattr(django_settings, "CUSTOMERIO"):
        return _from_setting(django_settings.CUSTOMERIO)
    variables = environment.read()
    return _build(
        {key: each.value for key, each in variables.items() if key in GLOBAL},
        {"default": {key: each.value for key, each in variables.items() if key in CONNECTION}},
        where=lambda key, alias: (
            variables[key].place if key in variables else environment.PREFIX + key
        ),
        shape="environment",
    )


def get_workspace(alias: str = "default") -> WorkspaceSettings:
    """The settings of one workspace.

    Raises:
        ImproperlyConfigured: no workspace has this alias, or the settings are wrong.
    """
    workspaces = get_settings().workspaces
    try:
        return workspaces[alias]
    except KeyError:
        raise ImproperlyConfigured(
            f'CUSTOMERIO has no workspace "{alias}"{suggest(alias, workspaces)}. '
            f"It has {listing(workspaces)}. Use one of them, or add this one to "
            'CUSTOMERIO["WORKSPACES"].'
        ) from None


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "CUSTOMERIO":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_customerio.conf")


def _from_setting(raw: object) -> Settings:
    if not isinstance(raw, Mapping):
        raise ImproperlyConfigured(
            f"CUSTOMERIO must be a dict, not {type(raw).__name__}. Write CUSTOMERIO = "
            '{"SITE_ID": "…", "API_KEY": "…"}, or leave the setting out to read the '
            "environment."
        )
    _refuse_unknown(raw, (*CONNECTION, *GLOBAL, "WORKSPACES"), 'CUSTOMERIO["{}"]')
    common = {key: value for key, value in raw.items() if key in GLOBAL}
    single = {key: value for key, value in raw.items() if key in CONNECTION}
    if "WORKSPACES" not in raw:
        return _build(common, {"default": single}, where=lambda key, alias: f'CUSTOMERIO["{key}"]')
    if single:
        raise ImproperlyConfigured(
            f'CUSTOMERIO["{next(iter(single))}"] stands beside CUSTOMERIO["WORKSPACES"]. With '
            f"several workspaces {listing(CONNECTION)} belong to one of them: move it to "
            f'CUSTOMERIO["WORKSPACES"]["default"].'
        )
    return _build(
        common,
        _workspaces(raw["WORKSPACES"]),
        where=lambda key, alias: (
            f'CUSTOMERIO["WORKSPACES"]["{alias}"]["{key}"]'
            if key in CONNECTION
            else f'CUSTOMERIO["{key}"]'
        ),
        shape="several",
    )


def _workspaces(raw: object) -> dict[str, Mapping[str, object]]:
    where = 'CUSTOMERIO["WORKSPACES"]'
    if not isinstance(raw, Mapping) or not raw:
        found = "empty" if isinstance(raw, Mapping) else type(raw).__name__
        raise ImproperlyConfigured(
            f"{where} must be a dict of one or more aliases, each with a dict, not {found}. "
            'Write {"default": {"SITE_ID": "…", "API_KEY": "…"}, …}.'
        )
    for alias, connection in raw.items():
        if not is_alias(alias):
            raise ImproperlyConfigured(
                f"{where} has an alias that is no name: it must be a str of 1 to 64 ASCII "
                "letters, digits and underscores that does not start with a digit. Rename it."
            )
        if not isinstance(connection, Mapping):
            raise ImproperlyConfigured(
                f'{where}["{alias}"] must be a dict, not {type(connection).__name__}. '
                'Write {"SITE_ID": "…", "API_KEY": "…"}.'
            )
        _refuse_unknown(connection, CONNECTION, f'{where}["{alias}"]["{{}}"]')
    return dict(raw)


def _refuse_unknown(raw: Mapping[Any, object], known: Iterable[str], where: str) -> None:
    for key in raw:
        if key in known:
            continue
        if not isinstance(key, str):
            raise ImproperlyConfigured(
                f"{where[: where.rindex('[')]} has a key of type {type(key).__name__}. "
                f"Its keys are {listing(known)}."
            )
        if key in GLOBAL:
            cure = f'It holds for all workspaces: move it up to CUSTOMERIO["{key}"].'
        else:
            cure = f"Use one of {listing(known)}, or remove it."
        raise ImproperlyConfigured(
            f"{where.format(key)} is not a setting here{suggest(key, known)}. {cure}"
        )


def _build(
    common: Mapping[str, object],
    connections: Mapping[str, Mapping[str, object]],
    *,
    where: Callable[[str, str], str],
    shape: Literal["one", "several", "environment"] = "one",
) -> Settings:
    values: dict[str, Any] = {
        key.lower(): GLOBAL[key](value, where(key, "")) for key, value in common.items()
    }
    workspaces = {}
    for alias, connection in connections.items():
        given: dict[str, Any] = {
            key.lower(): CONNECTION[key](value, where(key, alias))
            for key, value in connection.items()
        }
        workspaces[alias] = WorkspaceSettings(alias=alias, **given)
    made = Settings(**values, workspaces=MappingProxyType(workspaces), shape=shape)
    if made.timeout >= made.lease:
        raise ImproperlyConfigured(
            f"{where('TIMEOUT', '')} ({made.timeout:g} s) must be less than "
            f"{where('LEASE', '')} ({made.lease:g} s), or a lane could lapse under a request. "
            "Lower the first or raise the second."
        )
    if made.retry_base > made.retry_cap:
        raise ImproperlyConfigured(
            f"{where('RETRY_BASE', '')} ({made.retry_base:g} s) must not exceed "
            f"{where('RETRY_CAP', '')} ({made.retry_cap:g} s). Lower the first or raise the "
            "second."
        )
    if made.memory_size > made.memory_limit:
        raise ImproperlyConfigured(
            f"{where('MEMORY_SIZE', '')} ({made.memory_size}) must not exceed "
            f"{where('MEMORY_LIMIT', '')} ({made.memory_limit}). Lower the first or raise the "
            "second."
        )
    return made
