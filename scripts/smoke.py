"""Tries an installed django-customerio as a new site would, outside the checkout.

``python -I scripts/smoke.py PACKAGE`` (no path of the caller) in an environment that holds
the wheel: the import, the system checks, the migrations, one save that becomes an outbox row,
and every file of the folder PACKAGE, for templates, static files and translations are what a
wheel forgets first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def files_of(folder: Path) -> set[str]:
    """Return the files below a folder that belong into a wheel, relative to it."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def main(checkout: Path) -> None:
    """Raise if the installed package does not work."""
    import django
    from django.conf import settings
    from django.core.management import call_command

    folder = tempfile.mkdtemp()
    settings.configure(
        SECRET_KEY="smoke",  # noqa: S106
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(folder) / "smoke.sqlite3"),
                "OPTIONS": {"transaction_mode": "IMMEDIATE"},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "django_customerio",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
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
        ],
        STATIC_URL="static/",
        CUSTOMERIO={"SITE_ID": "SITE", "API_KEY": "KEY", "SENDER": "command"},
    )
    django.setup()

    import django_customerio as cio

    where = Path(cio.__file__).resolve()
    if "site-packages" not in where.parts:
        raise SystemExit(f"not the installed package: {where}")

    from django.contrib.auth.models import User

    @cio.register(User)
    class UserMap(cio.PersonMap):  # type: ignore[misc]
        attributes = ("email", "first_name")

    from django_customerio.receivers import connect_all

    connect_all()
    call_command("check", fail_level="WARNING")
    call_command("makemigrations", "--check", "--dry-run")
    call_command("migrate", verbosity=0)

    from django_customerio.models import OutboxMessage

    user = User.objects.create(username="ada", email="ada@example.com")
    cio.track(user, "signed_up", {"plan": "free"})
    kinds = list(OutboxMessage.objects.order_by("id").values_list("kind", flat=True))
    if kinds != ["state", "event"]:
        raise SystemExit(f"a save and a track left {kinds} in the outbox")
    call_command("customerio_status")

    absent = files_of(checkout) - files_of(where.parent)
    if absent:
        raise SystemExit(f"not in the wheel: {', '.join(sorted(absent))}")
    print(f"The wheel works: {cio.__name__} on Django {django.get_version()}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
