"""House rules that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_customerio"
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "migrations" not in path.parts and "__pycache__" not in path.parts
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
LIMIT = 400


def name_of(path: Path) -> str:
    """Name a file by its place in the checkout."""
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """Return the dotted names of all that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def importers(prefix: str) -> set[str]:
    """Return the rooms of the package that import something below a dotted name."""
    return {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path in MODULES
        if any(name == prefix or name.startswith(f"{prefix}.") for name in imported(path))
    }


def test_only_receivers_listen_to_the_orm() -> None:
    """No other room imports the signals of models or of authentication."""
    assert importers("django.db.models.signals") <= {"receivers"}
    assert importers("django.contrib.auth.signals") <= {"receivers"}


def test_only_senders_know_task_queues() -> None:
    """No other room imports Celery or django.tasks."""
    assert importers("celery") | importers("django.tasks") <= {"senders"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_small_and_modern(path: Path) -> None:
    """A module says what it is for, postpones annotations, and stays small."""
    text = path.read_text()
    if not text:
        return
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= LIMIT
    bare = [node for node in tree.body if not isinstance(node, ast.Expr)]
    assert not bare or "from __future__ import annotations" in text


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_states_a_behaviour(path: Path) -> None:
    """Each test has a docstring of one line."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, functions) and node.name.startswith("test"):
            docstring = ast.get_docstring(node)
            assert docstring, f"{node.name} has no docstring"
            assert "\n" not in docstring, f"{node.name} has a docstring of several lines"
