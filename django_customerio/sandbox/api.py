"""The endpoints of the Track API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from . import v1
from .conf import get_sandbox_settings, is_enabled
from .gate import note, writing
from .intake import Intake
from .models import Activity, Workspace, encode
from .operations import Operation
from .rules import ITEM_BYTES, REQUEST_BYTES, Refusal, check_item

View = Callable[..., HttpResponseBase]
METRICS = frozenset(
    {"bounced", "clicked", "converted", "deferred", "delivered", "dropped", "opened", "spammed"}
)
SEGMENT_IDS = 1_000


def endpoint(
    *methods: str, authenticated: bool = True, errors: str = "errors"
) -> Callable[[View], View]:
    """A view of the API: open to CSRF-less callers, guarded by Basic authentication.

    It answers 404 unless the sandbox is enabled, plays the fault somebody asked for, and
    turns a `Refusal` into the 400 of the version that was called (``errors`` names the key
    v1 puts its texts under; ``"error"`` stands for one text).
    """

    def decorate(view: View) -> View:
        @csrf_exempt
        @login_not_required
        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not is_enabled():
                raise Http404
            if (answer := _fault(request)) is not None:
                return answer
            if request.method not in methods:
                response = _v1_error("method not allowed", status=405)
                response.headers["Allow"] = ", ".join(methods)
                return response
            if authenticated and not _authenticated(request):
                _refused(request, "wrong Site ID or API key")
                return _v1_error("unauthorized", status=401)
            try:
                return view(request, *args, **kwargs)
            except Refusal as refusal:
                _refused(request, str(refusal), request.body.decode(errors="replace"))
                if "/api/v2/" in request.path:
                    return JsonResponse({"errors": [refusal.as_dict()]}, status=400)
                told = str(refusal) if errors == "error" else [str(refusal)]
                return JsonResponse({"meta": {errors: told}}, status=400)

        return wrapper

    return decorate


def _name(request: HttpRequest) -> str:
    return f"{request.method} {request.path}"


def _refused(request: HttpRequest, why: str, payload: str = "") -> None:
    note("request", Activity.Outcome.REFUSED, why, payload=payload, name=_name(request))


def _v1_error(text: str, status: int) -> JsonResponse:
    return JsonResponse({"meta": {"errors": [text]}}, status=status)


def _authenticated(request: HttpRequest) -> bool:
    wanted = get_sandbox_settings()
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        shown = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return False
    if scheme.lower() != "basic" or not (wanted.site_id and wanted.api_key):
        return False
    return constant_time_compare(shown, f"{wanted.site_id}:{wanted.api_key}")


def _fault(request: HttpRequest) -> HttpResponse | None:
    """The answer somebody asked for on the page of faults, if any is left."""
    asked = Workspace.objects.filter(pk=1).first()
    if asked is None:
        return None
    if asked.latency:
        time.sleep(asked.latency / 1000)
    if not asked.fault or asked.fault_left == 0:
        return None
    if asked.fault_left > 0:
        rows = Workspace.objects.filter(pk=1, fault_left__gt=0)
        if not rows.update(fault_left=F("fault_left") - 1):
            return None  # others used up what was left
    note("request", Activity.Outcome.FAULT, asked.get_fault_display(), name=_name(request))
    match asked.fault:
        case Workspace.Fault.PAGE:
            return HttpResponse("<!doctype html><title>Proxy</title><p>Please log in.")
        case Workspace.Fault.REGION:
            detail = {"detail": "wrong datacenter", "status": "301"}
            response = JsonResponse({"errors": [detail]}, status=301)
            response.headers["Location"] = "https://track-eu.customer.io" + request.path
            return response
        case _:
            response = _v1_error("a fault was asked for", status=int(asked.fault))
            if asked.fault == Workspace.Fault.BUSY:
                response.headers["Retry-After"] = "2"
            return response


def _decode(body: bytes) -> Any:
    """Strict JSON: no NaN, no Infinity.

    Raises:
        Refusal: The body is none.
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refusal("invalid", "body", "must be JSON in UTF-8") from None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _body(request: HttpRequest, *, empty: bool = False) -> dict[str, Any]:
    if empty and not request.body:
        return {}
    body = _decode(request.body)
    if not isinstance(body, dict):
        raise Refusal("invalid", "body", "must be an object")
    return body


def _apply(*operations: Operation) -> JsonResponse:
    with writing() as (using, request):
        Intake(using, request).apply(operations)
    return JsonResponse({})


@endpoint("GET")
def region(request: HttpRequest) -> HttpResponse:
    wanted = get_sandbox_settings()
    base = request.build_absolute_uri(request.path).removesuffix("/api/v1/accounts/region")
    return JsonResponse({"url": base, "region": wanted.region, "environment_id": 1})


# Track API v2


@endpoint("POST")
def entity(request: HttpRequest) -> HttpResponse:
    item = _body(request)
    text = encode(item)
    check_item(item, text, limit=ITEM_BYTES)
    return _apply(Operation(item, text))


@endpoint("POST")
def batch(request: HttpRequest) -> HttpResponse:
    body = request.body
    if len(body) > REQUEST_BYTES:
        why = f"a batch must not exceed {REQUEST_BYTES} bytes"
        _refused(request, why)
        problem = Refusal("too_large", "batch", why)
        return JsonResponse({"errors": [problem.as_dict()]}, status=413)
    content = _body(request)
    items = content.get("batch")
    if set(content) != {"batch"} or not isinstance(items, list) or not items:
        raise Refusal("invalid", "batch", "must be a list with at least one item")
    operations, errors, refused = [], [], []
    for index, item in enumerate(items):
        text = encode(item)
        try:
            check_item(item, text)
        except Refusal as refusal:
            errors.append({"batch_index": index, **refusal.as_dict()})
            refused.append((text, item, str(refusal)))
        else:
            operations.append(Operation(item, text))
    with writing() as (using, number):
        intake = Intake(using, number)
        for text, item, why in refused:
            intake.refuse(text, item, why)
        intake.apply(operations)
    if errors:
        return JsonResponse({"errors": errors}, status=207)
    return JsonResponse({})


# Track API v1


@endpoint("PUT", "DELETE")
def customer(request: HttpRequest, identifier: str) -> HttpResponse:
    if request.method == "DELETE":
        _body(request, empty=True)
        return _apply(v1.operation("delete", identifier))
    body = _body(request)
    change = body.get("cio_relationships")
    operations = [v1.identify(identifier, body)]
    if isinstance(change, dict) and change["action"] == "delete_relationships":
        gone = change.get("relationships")
        operations.append(v1.operation("delete_relationships", identifier, cio_relationships=gone))
    return _apply(*operations)


@endpoint("POST")
def customer_event(request: HttpRequest, identifier: str) -> HttpResponse:
    action, fields = v1.event(_body(request))
    return _apply(v1.operation(action, identifier, **fields))


@endpoint("POST")
def anonymous_event(request: HttpRequest) -> HttpResponse:
    operation, anonymous_id = v1.anonymous_event(_body(request))
    with writing() as (using, number):
        intake = Intake(using, number)
        intake.anonymous(operation, anonymous_id)
        intake.finish()
    return JsonResponse({})


@endpoint("PUT")
def customer_devices(request: HttpRequest, identifier: str) -> HttpResponse:
    device = v1.device(_body(request))
    return _apply(v1.operation("add_device", identifier, device=device))


@endpoint("DELETE")
def customer_device(request: HttpRequest, identifier: str, token: str) -> HttpResponse:
    _body(request, empty=True)
    return _apply(v1.operation("delete_device", identifier, device={"token": token}))


@endpoint("POST")
def suppress(request: HttpRequest, identifier: str) -> HttpResponse:
    _body(request, empty=True)
    return _apply(v1.operation("suppress", identifier))


@endpoint("POST")
def unsuppress(request: HttpRequest, identifier: str) -> HttpResponse:
    _body(request, empty=True)
    return _apply(v1.operation("unsuppress", identifier))


@endpoint("POST", errors="error")
def merge_customers(request: HttpRequest) -> HttpResponse:
    return _apply(v1.checked({"type": "person", "action": "merge", **_body(request)}))


@endpoint("POST")
def form(request: HttpRequest, form_id: str) -> HttpResponse:
    data = _body(request).get("data")
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise Refusal("invalid", "data", "must be an object whose values are strings")
    if len({"id", "email"} & set(data)) != 1:
        raise Refusal("required", "data", "must hold exactly one of id and email")
    ignored = {"form_id", "form_name", "form_type", "form_url", "form_url_param"}
    values = {name: value for name, value in data.items() if name not in ignored}
    who = {name: values.pop(name) for name in ("id", "email") if name in values}
    item = {"type": "person", "action": "identify", "identifiers": who, "attributes": values}
    _apply(v1.checked(item, v1.IDENTIFY_BYTES))
    note("form", Activity.Outcome.APPLIED, "", name=form_id, payload=encode(data))
    return HttpResponse(status=204)


@endpoint("POST", authenticated=False)
def metrics(request: HttpRequest) -> HttpResponse:
    body = _body(request)
    if not isinstance(body.get("delivery_id"), str) or not body["delivery_id"]:
        raise Refusal("required", "delivery_id", "must be a string")
    if body.get("metric") not in METRICS:
        raise Refusal("invalid", "metric", f"must be one of {', '.join(sorted(METRICS))}")
    note("metric", Activity.Outcome.APPLIED, "", name=body["metric"], payload=encode(body))
    return JsonResponse({})


@endpoint("POST")
def segment(request: HttpRequest, segment_id: int, change: str) -> HttpResponse:
    if request.GET.get("id_type", "id") not in {"id", "email", "cio_id"}:
        raise Refusal("invalid", "id_type", "must be id, email or cio_id")
    ids = _body(request).get("ids")
    if not isinstance(ids, list) or not all(isinstance(value, str) for value in ids):
        raise Refusal("invalid", "ids", "must be a list of strings")
    if not 1 <= len(ids) <= SEGMENT_IDS:
        raise Refusal("too_large", "ids", f"must hold 1 to {SEGMENT_IDS}")
    note(
        "segment",
        Activity.Outcome.APPLIED,
        f"{len(ids)} {'added' if change == 'add' else 'removed'}",
        name=str(segment_id),
        payload=encode(ids),
    )
    return JsonResponse({})
