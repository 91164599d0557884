"""The documentation names what the code has, and nothing that the code lacks."""

from __future__ import annotations

import inspect
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import BaseCommand, load_command_class
from django.dispatch import Signal

import django_customerio
from django_customerio import exceptions, maps, models, signals, validators, verbs
from django_customerio.sandbox import conf as sandbox_conf

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_customerio"
COMMANDS = sorted(
    found.name for found in pkgutil.iter_modules([str(PACKAGE / "management" / "commands")])
)


def page(name: str) -> str:
    """Return a page of the documentation."""
    return (ROOT / "docs" / f"{name}.md").read_text()


def section(text: str, heading: str) -> str:
    """Return what stands under a heading, up to the next of the same level."""
    level = heading.split()[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"no heading {heading!r}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def first_column(text: str) -> set[str]:
    """Return what is set as code in the first column of the tables of a text."""
    cells = re.findall(r"^\| ([^|]*`[^|]*) \|", text, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def options(name: str) -> set[str]:
    """Return the long options of a command, without those that every command has."""

    def of(command: BaseCommand) -> set[str]:
        parser = command.create_parser("manage.py", name)
        return {text for action in parser._actions for text in action.option_strings}

    own = of(load_command_class("django_customerio", name)) - of(BaseCommand())
    return {text for text in own if text.startswith("--")}


def test_settings_are_documented() -> None:
    """Every key of CUSTOMERIO has a row in the settings reference, and every row a key."""
    text = page("settings")
    assert first_column(section(text, "## Of a workspace")) == set(validators.CONNECTION)
    assert first_column(section(text, "## Of the site")) == set(validators.GLOBAL)
    assert '"WORKSPACES"' in text


def test_sandbox_settings_are_documented() -> None:
    """Every key of CUSTOMERIO_SANDBOX has its row, and every row a key."""
    assert first_column(section(page("reference"), "## The sandbox")) == set(sandbox_conf.KEYS)


def test_checks_are_documented() -> None:
    """Every id of a system check in the code is in the reference, and the reverse."""
    code = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    ids = set(re.findall(r'"((?:django_customerio|customerio_sandbox)\.[EW]\d{3})"', code))
    assert first_column(section(page("reference"), "## System checks")) == ids


def test_exceptions_are_documented() -> None:
    """Every exception has its row, which tells whether another try may succeed."""
    table = section(page("reference"), "## Exceptions")
    classes = {
        name: value
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, exceptions.CustomerIOError)
    }
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\w*) ?\|$", table, flags=re.MULTILINE))
    assert set(rows) == set(classes)
    assert {name for name, word in rows.items() if word == "yes"} == {
        name for name, value in classes.items() if value.retryable
    }


def test_signals_are_documented() -> None:
    """Every signal has its row, and every row a signal."""
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert first_column(section(page("reference"), "## Signals")) == names


def test_commands_are_documented() -> None:
    """Every command has its heading, and every heading a command."""
    headings = re.findall(r"^### (\w+)$", section(page("reference"), "## Commands"), re.MULTILINE)
    assert sorted(headings) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_documented(name: str) -> None:
    """Every option of a command is described under its heading, and no other."""
    text = section(page("reference"), f"### {name}")
    lines = re.findall(r"^(`--.*)\n: ", text, flags=re.MULTILINE)
    described = re.findall(r"`(--[a-z-]+)", " ".join(lines))
    assert set(described) == options(name)


def test_map_options_are_documented() -> None:
    """Every option of a map has its row with its default, and every row an option."""
    text = section(page("mapping"), "## Options")
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^|]+)` \|", text, flags=re.MULTILINE))
    defaults = {
        name: repr(getattr(maps.PersonMap, name)).replace("'", '"') for name in maps.OPTIONS
    }
    assert rows == defaults


def test_verbs_are_documented() -> None:
    """Every verb of the package root is in the table of verbs, and no other."""
    text = page("tracking").partition("\n## ")[0]
    named = {re.sub(r"^cio\.|\(.*$", "", name) for name in first_column(text)}
    code = {
        name
        for name, value in vars(verbs).items()
        if inspect.isfunction(value) and value.__module__ == verbs.__name__ and name[0] != "_"
    }
    assert named == code
    assert named <= set(django_customerio.__all__)


def test_permissions_are_documented() -> None:
    """Every permission of the admin is in the page on security, and no other."""
    expected = {
        f"django_customerio.{kind}_{model._meta.model_name}"
        for model in (models.OutboxMessage, models.SentMessage)
        for kind in model._meta.default_permissions
    } | {f"django_customerio.{codename}" for codename, _ in models.OutboxMessage._meta.permissions}
    assert first_column(section(page("security"), "## Permissions")) == expected


def test_tables_are_documented() -> None:
    """Every model of the app is named in the reference."""
    text = section(page("reference"), "## Tables")
    for model in apps.get_app_config("django_customerio").get_models():
        assert f"`{model.__name__}`" in text


def test_rooms_are_documented() -> None:
    """Every room of the package is in the table of the architecture page, and no other."""
    rooms = {found.name for found in pkgutil.iter_modules([str(PACKAGE)])} - {"migrations"}
    text = section(page("architecture"), "## Rooms and layers")
    cells = re.findall(r"^\|[^|]*\| (`[^|]*) \|", text, flags=re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == rooms


def test_versions_agree() -> None:
    """README, classifiers and the matrix of nox name the same Pythons and Djangos."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    matrix = (ROOT / "noxfile.py").read_text()
    readme = (ROOT / "README.md").read_text()
    for subject, prefix in (
        ("Python", "Programming Language :: Python :: "),
        ("Django", "Framework :: Django :: "),
    ):
        claimed = {
            text.removeprefix(prefix)
            for text in project["classifiers"]
            if re.fullmatch(re.escape(prefix) + r"\d+\.\d+", text)
        }
        row = re.search(rf"^\| {subject} \| (.*) \|$", readme, flags=re.MULTILINE)
        assert row
        assert set(row[1].split(", ")) == claimed
        pairs = re.findall(r'^    \("([\d.]+)", "([\d.]+)"\),$', matrix, re.MULTILINE)
        tested = {pair[0 if subject == "Python" else 1] for pair in pairs}
        assert tested == claimed


def test_make_targets_are_documented() -> None:
    """Every target that the contributing guide names exists."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", (ROOT / "CONTRIBUTING.md").read_text(), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
