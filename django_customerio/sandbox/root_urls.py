"""The sandbox at the root of a site of its own."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("django_customerio.sandbox.urls"))]
