"""Where the sandbox answers.

Mount it at the root of a site, or anywhere: ``TRACK_URL`` is then the address of that
place, without a slash at its end.
"""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from . import api, pages

app_name = "customerio_sandbox"

# A server hands over paths with %2F already decoded, so an identifier may hold slashes;
# the longer forms are therefore tried first.
_customers = [
    re_path(r"^(?P<identifier>.+)/devices/(?P<token>.+)$", api.customer_device),
    re_path(r"^(?P<identifier>.+)/devices$", api.customer_devices),
    re_path(r"^(?P<identifier>.+)/events$", api.customer_event),
    re_path(r"^(?P<identifier>.+)/suppress$", api.suppress),
    re_path(r"^(?P<identifier>.+)/unsuppress$", api.unsuppress),
    re_path(r"^(?P<identifier>.+)$", api.customer),
]

_v1: list[URLPattern | URLResolver] = [
    path("accounts/region", api.region),
    path("customers/", include(_customers)),
    path("events", api.anonymous_event),
    path("merge_customers", api.merge_customers),
    path("forms/<path:form_id>/submit", api.form),
    path("metrics", api.metrics),
    path("segments/<int:segment_id>/add_customers", api.segment, {"change": "add"}),
    path("segments/<int:segment_id>/remove_customers", api.segment, {"change": "remove"}),
]

urlpatterns = [
    path("api/v1/", include(_v1)),
    path("api/v2/entity", api.entity),
    path("api/v2/batch", api.batch),
    path("", pages.people, name="people"),
    path("sandbox/people/<str:cio_id>", pages.person, name="person"),
    path("sandbox/activity", pages.activity, name="activity"),
    path("sandbox/activity.json", pages.activity_json, name="activity_json"),
    path("sandbox/refused", pages.refused, name="refused"),
    path("sandbox/faults", pages.faults, name="faults"),
    path("sandbox/reset", pages.reset, name="reset"),
    path("sandbox/export.json", pages.export, name="export"),
]
