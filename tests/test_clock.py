"""The database's clock."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_customerio.clock import DatabaseClock, clock_sql, now_ms

from .shop.models import Plan


@pytest.mark.django_db
def test_milliseconds_since_1970():
    """By a statement of its own, or as an expression."""
    assert abs(now_ms("default") - time.time() * 1000) < 60_000
    Plan.objects.create(name="pro")
    assert abs(Plan.objects.annotate(at=DatabaseClock()).get().at - time.time() * 1000) < 60_000


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("use_tz", [True, False])
def test_no_time_zone_matters(settings, zone, use_tz):
    """Neither Django's nor the session's."""
    settings.TIME_ZONE = zone
    settings.USE_TZ = use_tz
    assert abs(now_ms("default") - time.time() * 1000) < 60_000


def test_another_database_is_refused():
    """By its name, with the cure."""
    with pytest.raises(ImproperlyConfigured, match=r"'oracle' of DATABASES.*leave the alias out"):
        clock_sql(SimpleNamespace(vendor="oracle", alias="legacy"))
