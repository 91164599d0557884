"""The pages to look at what came, and the export for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from .conf import is_enabled
from .models import Activity, Device, Person, Relationship, Suppression, Workspace, encode
from .templatetags.customerio_sandbox import iso

View = Callable[..., HttpResponseBase]
PEOPLE = 50
ENTRIES = 100
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def page(view: View) -> View:
    """A page of the sandbox: open while the sandbox is enabled, never cached, no inline code."""

    @login_not_required
    @never_cache
    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not is_enabled():
            raise Http404
        response = view(request, *args, **kwargs)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    return wrapper


def _render(request: HttpRequest, name: str, **context: Any) -> HttpResponse:
    shown = context.get("person")
    rows = Activity.objects.filter(person=shown) if shown else Activity.objects.all()
    newest = rows.order_by("-id").values_list("id", flat=True).first()
    return render(
        request,
        f"customerio_sandbox/{name}.html",
        {
            "request": request,
            "last": newest or 0,
            "workspace": Workspace.objects.filter(pk=1).first() or Workspace(),
            "refusals": Activity.objects.filter(outcome=Activity.Outcome.REFUSED).count(),
            **context,
        },
    )


def _page(request: HttpRequest, rows: QuerySet[Any], size: int) -> Any:
    return Paginator(rows, size).get_page(request.GET.get("page"))


@page
@require_GET
def people(request: HttpRequest) -> HttpResponse:
    """Everybody known, searched by any identifier or attribute."""
    query = request.GET.get("q", "").strip()
    gone = request.GET.get("gone") == "1"
    rows = Person.objects.all()
    counts = rows.aggregate(
        active=Count("pk", filter=Q(state=Person.State.ACTIVE)),
        gone=Count("pk", filter=~Q(state=Person.State.ACTIVE)),
    )
    rows = (
        rows.exclude(state=Person.State.ACTIVE) if gone else rows.filter(state=Person.State.ACTIVE)
    )
    if query:
        rows = rows.filter(
            Q(identifier__icontains=query)
            | Q(email__icontains=query)
            | Q(phone__icontains=query)
            | Q(cio_id=query)
            | Q(attributes__icontains=query)
        )
    outcomes = Activity.objects.aggregate(
        events=Count("pk", filter=Q(kind__in=Activity.EVENTS, outcome=Activity.Outcome.APPLIED)),
        repeats=Count("pk", filter=Q(outcome=Activity.Outcome.REPEAT)),
    )
    return _render(
        request,
        "people",
        people=_page(request, rows, PEOPLE),
        query=query,
        gone=gone,
        counts={**counts, **outcomes},
        track_url=request.build_absolute_uri(reverse("customerio_sandbox:people")).rstrip("/"),
        section="people",
    )


@page
@require_GET
def person(request: HttpRequest, cio_id: str) -> HttpResponse:
    """One person: what is known, and everything that came, newest first."""
    found = get_object_or_404(Person, pk=cio_id)
    attributes = [(name, found.attributes[name]) for name in sorted(found.attributes)]
    return _render(
        request,
        "person",
        person=found,
        attributes=[
            (name, value if isinstance(value, str) else encode(value), iso(found.times.get(name)))
            for name, value in attributes
        ],
        devices=found.devices.all(),
        relationships=found.relationships.all(),
        entries=_page(request, found.activity.order_by("-id"), ENTRIES),
        section="people",
    )


@page
@require_GET
def activity(request: HttpRequest) -> HttpResponse:
    """Everything that came, newest first."""
    rows = Activity.objects.select_related("person").order_by("-id")
    return _render(request, "activity", entries=_page(request, rows, ENTRIES), section="activity")


@page
@require_GET
def refused(request: HttpRequest) -> HttpResponse:
    """What Customer.io would not take, with the reason."""
    rows = Activity.objects.filter(outcome=Activity.Outcome.REFUSED).order_by("-id")
    return _render(request, "refused", entries=_page(request, rows, ENTRIES), section="refused")


@page
@require_GET
def activity_json(request: HttpRequest) -> HttpResponse:
    """What came after the id ``after``, oldest first; of one ``person``, or of everybody.

    At most ``limit`` items (200): ``last`` is the id to go on from, ``newest`` that of the
    newest there is.
    """
    try:
        after = int(request.GET.get("after", "0"))
        limit = min(max(int(request.GET.get("limit", "200")), 0), 200)
    except ValueError:
        raise Http404 from None
    rows = Activity.objects.order_by("id")
    if cio_id := request.GET.get("person"):
        rows = rows.filter(person=cio_id)
    newest = rows.values_list("id", flat=True).last()
    found = list(rows.filter(id__gt=after)[:limit])
    return JsonResponse(
        {
            "last": found[-1].id if found else after,
            "newest": newest or 0,
            "items": [
                {
                    "id": entry.id,
                    "request": entry.request,
                    "kind": entry.kind,
                    "outcome": entry.outcome,
                    "person": entry.person_id,
                    "who": entry.who,
                    "name": entry.name,
                    "note": entry.note,
                    "received_at": iso(entry.received_at),
                    "happened_at": iso(entry.happened_at),
                    "payload": entry.data,
                }
                for entry in found
            ],
        }
    )


class FaultForm(forms.ModelForm):  # type: ignore[type-arg]
    """Which fault to play, and for how long."""

    fault_left = forms.IntegerField(
        label=_("For how many requests"),
        min_value=1,
        max_value=1_000_000,
        required=False,
        help_text=_("Leave it empty for “until switched off”."),
    )
    latency = forms.IntegerField(
        label=_("Answer late by (milliseconds)"),
        min_value=0,
        max_value=120_000,
        required=False,
        help_text=_("Applies to every answer, with or without a fault."),
    )

    class Meta:
        model = Workspace
        fields = ("fault", "fault_left", "latency")
        labels = {"fault": _("Answer with")}

    def clean_fault_left(self) -> int:
        left: int | None = self.cleaned_data.get("fault_left")
        return left or -1

    def clean_latency(self) -> int:
        return self.cleaned_data.get("latency") or 0


@page
@require_http_methods(["GET", "POST"])
def faults(request: HttpRequest) -> HttpResponse:
    """Lets the API answer with a fault, so that recovery can be watched."""
    row, _created = Workspace.objects.get_or_create(pk=1)
    if request.method == "POST":
        form = FaultForm(request.POST, instance=row)
        if form.is_valid():
            chosen = form.save(commit=False)
            chosen.save(update_fields=["fault", "fault_left", "latency"])
            return redirect("customerio_sandbox:faults")
    else:
        left = row.fault_left if row.fault_left > 0 else None
        form = FaultForm(instance=row, initial={"fault_left": left})
    return _render(request, "faults", form=form, section="faults")


@page
@require_POST
def reset(request: HttpRequest) -> HttpResponse:
    """Forgets everybody and everything."""
    with transaction.atomic(using=Person.objects.db):
        for model in (Activity, Device, Relationship, Suppression, Person, Workspace):
            model.objects.all().delete()
    return redirect("customerio_sandbox:people")


@page
@require_GET
def export(request: HttpRequest) -> HttpResponseBase:
    """Active people and their events as one JSON document, streamed."""
    return StreamingHttpResponse(_export(), content_type="application/json")


def _export() -> Iterator[str]:
    def listed(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
        separator = ""
        for row in rows:
            yield separator + json.dumps(row, ensure_ascii=False)
            separator = ",\n"

    outcomes = Activity.objects.values_list("outcome").annotate(n=Count("pk")).order_by("outcome")
    counts = {"requests": sum(Workspace.objects.values_list("requests", flat=True))}
    counts |= dict(outcomes)
    yield '{"counts": ' + json.dumps(counts) + ',\n"people": ['
    yield from listed(_people())
    yield '],\n"events": ['
    yield from listed(_events())
    yield "]}\n"


def _people() -> Iterator[dict[str, Any]]:
    active = Person.objects.filter(state=Person.State.ACTIVE).order_by("cio_id")
    for row in active.iterator():
        yield {
            "cio_id": row.cio_id,
            "id": row.identifier,
            "email": row.email,
            "phone": row.phone,
            "attributes": row.attributes,
        }


def _events() -> Iterator[dict[str, Any]]:
    rows = Activity.objects.filter(
        kind__in=Activity.EVENTS, outcome=Activity.Outcome.APPLIED
    ).order_by("id")
    for row in rows.iterator():
        data = row.data
        yield {
            "person": row.person_id,
            "who": row.who,
            "type": row.kind,
            "name": row.name,
            "id": row.ulid,
            "timestamp": row.happened_at // 1000 if row.happened_at is not None else None,
            "received_at": iso(row.received_at),
            "data": data.get("attributes", data.get("data", {})),
        }
