"""What the sandbox keeps.

Instants are milliseconds since 1970: the API speaks in seconds, and plain numbers keep the
bulk SQL the same on every database. Whoever writes holds the one row of `Workspace`, so
identifiers need no unique indexes, and people who are gone can keep theirs to be shown.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


def encode(value: Any) -> str:
    """JSON text, compact, as it is stored and measured."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class JSONTextField(models.TextField):  # type: ignore[type-arg]
    """JSON kept as text: the order of keys and every character survive on every database."""

    def from_db_value(
        self, value: str | None, expression: Any, connection: BaseDatabaseWrapper
    ) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> str:
        return encode(value)


def new_cio_id() -> str:
    """Customer.io's own identifier of a person; whoever came later has the greater one."""
    return f"{time.time_ns():016x}{secrets.token_hex(2)}"


class Workspace(models.Model):
    """The one row that serialises writers, and the faults somebody asked for."""

    class Fault(models.TextChoices):
        NONE = "", _("none: answer as usual")
        UNAVAILABLE = "503", _("503 Service Unavailable")
        ERROR = "500", _("500 Internal Server Error")
        BUSY = "429", _("429 Too Many Requests, with Retry-After: 2")
        UNAUTHORISED = "401", _("401 Unauthorized")
        REGION = "301", _("301 to the other region")
        PAGE = "html", _("200 with a web page, as from a proxy")

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    requests = models.BigIntegerField(default=0)
    fault = models.CharField(max_length=8, choices=Fault, default=Fault.NONE, blank=True)
    fault_left = models.IntegerField(default=0, help_text=_("Requests; -1: until switched off."))
    latency = models.PositiveIntegerField(default=0, help_text=_("Milliseconds."))

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.requests} requests"


class Person(models.Model):
    """Somebody Customer.io knows, or knew."""

    class State(models.TextChoices):
        ACTIVE = "active", _("active")
        DELETED = "deleted", _("deleted")
        SUPPRESSED = "suppressed", _("suppressed")
        MERGED = "merged", _("merged")

    cio_id = models.CharField(primary_key=True, max_length=32, default=new_cio_id)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    identifier = models.CharField(_("id"), max_length=150, blank=True, db_index=True)
    email = models.CharField(
        max_length=254, blank=True, db_index=True, help_text=_("In lower case, to compare.")
    )
    phone = models.CharField(max_length=32, blank=True, db_index=True)
    anonymous_id = models.CharField(max_length=150, blank=True, db_index=True)
    anonymous_since = models.BigIntegerField(default=0)
    attributes = JSONTextField(default=dict)
    times = JSONTextField(default=dict, help_text=_("When each attribute was said, in ms."))
    first_seen = models.BigIntegerField(default=0, db_index=True)
    last_seen = models.BigIntegerField(default=0, db_index=True)

    class Meta:
        ordering = ("-last_seen", "-cio_id")
        default_permissions = ()

    def __str__(self) -> str:
        return self.label

    def get_absolute_url(self) -> str:
        return reverse("customerio_sandbox:person", args=[self.cio_id])

    @property
    def label(self) -> str:
        """What to call the person on a page."""
        named: str = str(self.attributes.get("email") or self.email)
        return named or self.identifier or self.phone or self.cio_id

    @property
    def created_at(self) -> int | None:
        """The attribute of that name, in milliseconds."""
        said = self.attributes.get("created_at")
        return said * 1000 if isinstance(said, int) else None

    @property
    def initial(self) -> str:
        name = str(self.attributes.get("first_name") or self.label)
        return name[:1].upper()


class Device(models.Model):
    """A push device of a person."""

    person = models.ForeignKey(Person, models.CASCADE, related_name="devices")
    token = models.CharField(max_length=500)
    platform = models.CharField(max_length=10)
    last_used = models.BigIntegerField(default=0)
    attributes = JSONTextField(default=dict)

    class Meta:
        ordering = ("id",)
        default_permissions = ()

    def __str__(self) -> str:
        return self.platform


class Relationship(models.Model):
    """A person's tie to an object."""

    person = models.ForeignKey(Person, models.CASCADE, related_name="relationships")
    object_key = models.CharField(max_length=330)
    attributes = JSONTextField(default=dict)

    class Meta:
        ordering = ("id",)
        default_permissions = ()

    def __str__(self) -> str:
        return self.object_key


class Suppression(models.Model):
    """An identifier whose calls are ignored, and the person it belonged to."""

    key = models.CharField(max_length=300, db_index=True)
    person = models.CharField(max_length=32, blank=True, db_index=True)

    class Meta:
        ordering = ("id",)
        default_permissions = ()

    def __str__(self) -> str:
        return self.key


class Activity(models.Model):
    """One thing that arrived, in order of arrival. Events are those of `EVENTS` kinds."""

    class Outcome(models.TextChoices):
        APPLIED = "applied", _("applied")
        REPEAT = "repeat", _("repeat dropped")
        IGNORED = "ignored", _("ignored")
        FAILED = "failed", _("failed")
        REFUSED = "refused", _("refused")
        FAULT = "fault", _("fault injected")

    EVENTS: ClassVar[tuple[str, ...]] = ("event", "page", "screen")

    id = models.BigAutoField(primary_key=True)
    request = models.BigIntegerField(default=0)
    received_at = models.BigIntegerField()
    happened_at = models.BigIntegerField(null=True)
    kind = models.CharField(max_length=24)
    outcome = models.CharField(max_length=8, choices=Outcome)
    person = models.ForeignKey(
        Person, models.CASCADE, null=True, related_name="activity", db_index=False
    )
    who = models.CharField(max_length=300, blank=True, db_index=True)
    name = models.CharField(max_length=200, blank=True)
    ulid = models.CharField(max_length=26, blank=True, db_index=True)
    note = models.CharField(max_length=300, blank=True)
    payload = models.TextField(blank=True)

    class Meta:
        ordering = ("-id",)
        default_permissions = ()
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["person", "id"], name="cio_sandbox_timeline"),
            models.Index(fields=["outcome", "id"], name="cio_sandbox_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.outcome}"

    @property
    def data(self) -> Any:
        """The payload as JSON, or as the text it is where it is none."""
        try:
            return json.loads(self.payload)
        except ValueError:
            return self.payload

    @property
    def is_history(self) -> bool:
        """Whether it happened more than a minute away from its arrival."""
        happened = self.happened_at if self.kind in self.EVENTS else None
        return happened is not None and abs(self.received_at - happened) > 60_000

    @property
    def gist(self) -> str:
        """One line of what it says, for lists."""
        data = self.data
        values = data.get("attributes", data.get("data")) if isinstance(data, dict) else None
        if not isinstance(values, dict):
            return ""
        shown = (v if isinstance(v, str) else encode(v) for v in values.values())
        return " · ".join(f"{name}: {value}" for name, value in zip(values, shown, strict=True))

    @property
    def pretty(self) -> str:
        data = self.data
        if isinstance(data, str):
            return data
        return json.dumps(data, ensure_ascii=False, indent=2)
