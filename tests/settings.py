"""Settings of the test suite; ``CIO_TEST_DB`` chooses the database server."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

SECRET_KEY = "tests-only"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.urls"
AUTH_USER_MODEL = "shop.Customer"
STATIC_URL = "static/"
# One suite may run beside another on the same server.
_suffix = os.environ.get("CIO_TEST_SUFFIX", "")


def _database(alias: str) -> dict[str, Any]:
    name = f"cio_{alias}{_suffix}"
    test = {"NAME": f"test_{name}"}
    match os.environ.get("CIO_TEST_DB", "sqlite"):
        case "postgres":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": os.environ.get("CIO_PG_DATABASE", "postgres"),
                "HOST": os.environ.get("CIO_PG_HOST", "127.0.0.1"),
                "USER": os.environ.get("CIO_PG_USER", "postgres"),
                "PASSWORD": os.environ.get("CIO_PG_PASSWORD", ""),
                "TEST": test,
            }
        case "mariadb":
            try:
                import MySQLdb  # noqa: F401
            except ImportError:  # the pure-Python driver needs no compiler
                import pymysql

                pymysql.version_info = (2, 2, 8, "final", 0)
                pymysql.install_as_MySQLdb()
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": os.environ.get("CIO_MARIADB_DATABASE", "test"),
                "HOST": os.environ.get("CIO_MARIADB_HOST", "127.0.0.1"),
                "USER": os.environ.get("CIO_MARIADB_USER", "root"),
                "PASSWORD": os.environ.get("CIO_MARIADB_PASSWORD", ""),
                "OPTIONS": {"charset": "utf8mb4"},
                "TEST": test,
            }
        case _:
            # A file, because threads and processes must share it.
            path = f"/tmp/{test['NAME']}-{os.getpid()}.sqlite3"
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": path,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
                "TEST": {"NAME": path},
            }


DATABASES = {"default": _database("default"), "other": _database("other")}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_customerio",
    "django_customerio.sandbox",
    "tests.shop",
    # For the tests of the sender "tasks": a backend of django.tasks that has a worker.
    *(["django_tasks_db"] if find_spec("django_tasks_db") else []),
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# The models of the tests have no migrations, so what they point to must have none either.
MIGRATION_MODULES = dict.fromkeys(
    ["admin", "auth", "contenttypes", "sessions", "django_tasks_database"]
)
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# The models of the tests hold what a check warns of.
SILENCED_SYSTEM_CHECKS = ["django_customerio.E022"]
CUSTOMERIO = {"SITE_ID": "SITE", "API_KEY": "KEY", "SENDER": "command"}
CUSTOMERIO_SANDBOX = {"SITE_ID": "SITE", "API_KEY": "KEY", "ALLOW": True}
