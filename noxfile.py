"""Sessions over the supported Pythons and Djangos; ``nox -l`` lists them.

An interpreter is taken from the PATH or from pyenv; a session whose interpreter is absent
is skipped, and says so.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "lint", "types", "docs", "wheel"]

MATRIX = [
    ("3.11", "5.2"),
    ("3.12", "5.2"),
    ("3.12", "6.0"),
    ("3.12", "6.1"),
    ("3.13", "5.2"),
    ("3.13", "6.0"),
    ("3.13", "6.1"),
]


def _offer_pyenv(version: str) -> None:
    """Put pyenv's interpreter on the PATH where none that runs is there.

    A shim is on the PATH for every version that pyenv has, but runs only the chosen ones.
    """
    try:
        subprocess.run([f"python{version}", "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        for home in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin"), reverse=True):
            os.environ["PATH"] = f"{home}{os.pathsep}{os.environ['PATH']}"
            return


for _version in dict.fromkeys(python for python, _ in MATRIX):
    _offer_pyenv(_version)


def _install_package(session: nox.Session, *more: str) -> None:
    """Install the wheel that CIO_WHEEL names (built once for all sessions), or build one."""
    session.install(os.environ.get("CIO_WHEEL", "."), *more)


@nox.session
@nox.parametrize("python,django", MATRIX)
def tests(session: nox.Session, django: str) -> None:
    """The suite on one Python and one Django; CIO_TEST_DB chooses the database."""
    _install_package(session, f"django~={django}.0", "--group", "test")
    suffix = f"_nox{session.python}_{django}".replace(".", "")
    session.run(
        "python",
        "-X",
        "dev",
        "-m",
        "pytest",
        *session.posargs,
        env={"CIO_TEST_SUFFIX": suffix},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and the layers."""
    _install_package(session, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly, and the public API as its users see it."""
    _install_package(session, "--group", "types")
    session.run("python", "-m", "mypy")
    session.run("python", "-m", "mypy", "tests/typing/api.py")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    _install_package(session, "--group", "docs")
    session.run(
        "python", "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "docs", "docs/_build/html"
    )


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel, alone in an empty environment and outside the checkout."""
    built = os.environ.get("CIO_WHEEL")
    if built is None:
        session.install("--group", "build")
        folder = session.create_tmp()
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, ".")
        built = str(max(Path(folder).glob("*.whl"), key=lambda path: path.stat().st_mtime))
        session.run("python", "-m", "pip", "uninstall", "--yes", "--quiet", "build")
    session.install("--force-reinstall", built)
    smoke, package = Path("scripts/smoke.py").resolve(), Path("django_customerio").resolve()
    with session.chdir(session.create_tmp()):
        session.run("python", "-I", str(smoke), str(package))
