"""The app of the models that are measured."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):
    """Has no migrations: its tables are made by ``migrate --run-syncdb``."""

    name = "benchmarks.people"
    label = "people"
