"""Django's settings in the processes that measure."""

from __future__ import annotations

import os

from benchmarks.databases import configuration

SECRET_KEY = "benchmarks-only"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": configuration(os.environ["BENCH_DATABASE"], os.environ["BENCH_NAME"])}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_customerio",
    "benchmarks.people",
]
CUSTOMERIO = {
    "SITE_ID": "SITE",
    "API_KEY": "KEY",
    "TRACK_URL": os.environ["BENCH_URL"],
    "SENDER": "command",
    "KEEP_SENT": None,
}
