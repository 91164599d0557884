"""What the app keeps: messages on their way, lanes, and what Customer.io accepted.

Everything lives on the database of the rows it speaks about, so that a message commits
or rolls back with the change that caused it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class _Bytewise:
    """Compares by bytes, and holds every character of Unicode, on every database.

    MariaDB's and MySQL's default collations ignore case and trailing spaces, which would
    take ``"A"`` and ``"a"``, two people for Customer.io, for one. And in a database whose
    character set is an older one, a text that it lacks would break the save that says it.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        column: str | None = super().db_type(connection)  # type: ignore[misc]
        if connection.vendor == "mysql":
            return f"{column} CHARACTER SET utf8mb4"
        return column

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = super().db_parameters(connection)  # type: ignore[misc]
        if connection.vendor == "mysql":
            maria = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            parameters["collation"] = "utf8mb4_nopad_bin" if maria else "utf8mb4_0900_bin"
        return parameters


class BytewiseCharField(_Bytewise, models.CharField):  # type: ignore[type-arg]
    """A ``CharField`` compared by bytes on every database."""


class BytewiseTextField(_Bytewise, models.TextField):  # type: ignore[type-arg]
    """A ``TextField`` compared by bytes on every database."""


class OutboxMessage(models.Model):
    """Something to say to Customer.io, until it was accepted.

    A *state* row names a row of a mapped model and holds no value of it: the sender reads
    the database when it sends. Every other kind holds its JSON, rendered when it was said.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        HELD = "held", _("held")
        DEAD = "dead", _("dead")

    class Kind(models.TextChoices):
        STATE = "state", _("state")
        IDENTIFY = "identify", _("identify")
        DELETE = "delete", _("delete")
        EVENT = "event", _("event")
        ANONYMOUS_EVENT = "anonymous_event", _("anonymous event")
        PAGE = "page", _("page")
        SCREEN = "screen", _("screen")
        ADD_DEVICE = "add_device", _("add device")
        DELETE_DEVICE = "delete_device", _("delete device")
        ADD_RELATIONSHIPS = "add_relationships", _("add relationships")
        DELETE_RELATIONSHIPS = "delete_relationships", _("delete relationships")
        MERGE = "merge", _("merge")
        SUPPRESS = "suppress", _("suppress")
        UNSUPPRESS = "unsuppress", _("unsuppress")

    id = models.BigAutoField(primary_key=True)
    ulid = models.CharField(_("ULID"), max_length=26)
    workspace = BytewiseCharField(_("workspace"), max_length=64)
    site = models.CharField(
        _("site stamp"),
        max_length=16,
        help_text=_("Names the Customer.io site this was meant for; another one never gets it."),
    )
    lane = models.PositiveSmallIntegerField(_("lane"))
    person = BytewiseCharField(_("person"), max_length=300)
    kind = models.CharField(_("kind"), max_length=24, choices=Kind)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.PENDING)
    model = BytewiseCharField(_("model"), max_length=100, blank=True)
    object_pk = BytewiseCharField(_("object"), max_length=255, blank=True)
    name = BytewiseCharField(
        _("name"), max_length=100, blank=True, help_text=_("The event, page or screen.")
    )
    attribute_names = BytewiseTextField(_("attribute names"), blank=True)
    body = BytewiseTextField(_("payload"), blank=True)
    size = models.PositiveIntegerField(_("size in bytes"), default=0)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    cause = BytewiseCharField(
        _("cause"), max_length=200, blank=True, help_text=_("Route, command or task, release.")
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    first_failed_at = models.DateTimeField(_("first failed"), null=True, blank=True)
    retry_at = models.BigIntegerField(_("retry at"), default=0)
    """Only a message that fails alone waits by itself; milliseconds, see ``Lane``."""
    answer = BytewiseTextField(_("last answer"), blank=True)

    class Meta:
        verbose_name = _("outbox message")
        verbose_name_plural = _("outbox")
        ordering = ("-id",)
        # One index serves finding work, reading a lane in order and the lists by state.
        # It is no partial index: MariaDB and MySQL leave those out without a word.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["workspace", "lane", "state", "id"], name="cio_outbox_lane"),
        ]
        permissions = (
            ("view_payload", _("Can view payloads of outbox messages")),
            ("resend_outboxmessage", _("Can resend outbox messages")),
            ("discard_outboxmessage", _("Can discard outbox messages")),
        )
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind} {self.ulid}"


class SentMessage(models.Model):
    """The ledger: what Customer.io accepted, without the values."""

    id = models.BigAutoField(primary_key=True)
    ulid = models.CharField(_("ULID"), max_length=26)
    workspace = BytewiseCharField(_("workspace"), max_length=64)
    person = BytewiseCharField(_("person"), max_length=300)
    kind = models.CharField(_("kind"), max_length=24, choices=OutboxMessage.Kind)
    model = BytewiseCharField(_("model"), max_length=100, blank=True)
    object_pk = BytewiseCharField(_("object"), max_length=255, blank=True)
    name = BytewiseCharField(_("name"), max_length=100, blank=True)
    attribute_names = BytewiseTextField(_("attribute names"), blank=True)
    cause = BytewiseCharField(_("cause"), max_length=200, blank=True)
    queued_at = models.DateTimeField(_("queued"))
    sent_at = models.DateTimeField(_("sent"), default=timezone.now)
    answer = BytewiseCharField(_("answer"), max_length=100, blank=True)

    class Meta:
        verbose_name = _("sent message")
        verbose_name_plural = _("sent messages")
        ordering = ("-id",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["person"], name="cio_sent_person"),
            models.Index(fields=["sent_at"], name="cio_sent_at"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind} {self.ulid}"


class Lane(models.Model):
    """The right to send the messages of some people, held by one worker at a time.

    Instants are milliseconds since 1970 by the clock of the database, which alone judges
    leases, so that neither a worker's clock nor ``USE_TZ`` matters.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = BytewiseCharField(max_length=64)
    number = models.PositiveSmallIntegerField()
    epoch = models.BigIntegerField(default=0)
    token = models.CharField(max_length=32, blank=True)
    leased_until = models.BigIntegerField(default=0)
    paused_until = models.BigIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.BigIntegerField(default=0)
    lapses = models.PositiveSmallIntegerField(default=0)
    floor = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["workspace", "number"], name="cio_lane_number"),
        ]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.workspace} {self.number}"


class Fingerprint(models.Model):
    """What was last accepted about a person: a keyed hash of each attribute, no values."""

    id = models.BigAutoField(primary_key=True)
    workspace = BytewiseCharField(max_length=64)
    person = BytewiseCharField(max_length=300)
    seal = models.CharField(max_length=16)
    """Changes with the site and the key of the hashes; of another seal no hash counts."""
    hashes = models.TextField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["workspace", "person"], name="cio_fingerprint_person"),
        ]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.workspace} {self.pk}"


class Tombstone(models.Model):
    """A person who was deleted or merged, while something older may still be on its way.

    Rows of a deleted person with lower ids are discarded, and the message is said once more
    when no request that was under way can be applied any longer.
    """

    id = models.BigAutoField(primary_key=True)
    workspace = BytewiseCharField(max_length=64)
    lane = models.PositiveSmallIntegerField()
    person = BytewiseCharField(max_length=300)
    kind = models.CharField(max_length=24)
    message_id = models.BigIntegerField()
    """Id of the outbox row of the delete; what is lower came before it."""
    body = BytewiseTextField()
    repeat_at = models.BigIntegerField()
    """When to say it once more; 0 once that is done or newer messages make it wrong."""
    forget_at = models.BigIntegerField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["workspace", "lane"], name="cio_tombstone_lane"),
            models.Index(fields=["workspace", "repeat_at"], name="cio_tombstone_due"),
        ]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.workspace} {self.message_id}"


class WorkspaceStatus(models.Model):
    """How a workspace fares, shared by all its workers."""

    id = models.BigAutoField(primary_key=True)
    workspace = BytewiseCharField(max_length=64, unique=True)
    paused_until = models.BigIntegerField(default=0)
    pause_reason = BytewiseCharField(max_length=200, blank=True)
    paused_key = models.CharField(max_length=16, blank=True)
    """Hash of the API key that was refused: a process with another key is not paused."""
    failures = models.PositiveIntegerField(default=0)
    refusals = models.PositiveIntegerField(default=0)
    last_success = models.BigIntegerField(default=0)
    heartbeat = models.BigIntegerField(default=0)
    slot = models.BigIntegerField(default=0)
    """From when on the next small request may start."""

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.workspace)
