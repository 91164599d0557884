"""The official client, call by call. Also run as a script by a Python that has it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

VERSION = "3.2.0"
_PIP = (sys.executable, "-m", "pip")


def python() -> str:
    """Make an environment with the official client, once; empty where that fails."""
    folder = Path(tempfile.gettempdir()) / f"bench_cio_official_{VERSION}"
    binary = folder / "bin" / "python"
    if not _has_client(binary):
        try:
            venv.create(folder, with_pip=False, clear=True)
            subprocess.run(
                [*_PIP, "--python", str(binary), "install", "-qq", f"customerio=={VERSION}"],
                check=True,
                capture_output=True,
                timeout=120,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
    return str(binary) if _has_client(binary) else ""


def _has_client(binary: Path) -> bool:
    if not binary.exists():
        return False
    said = subprocess.run([binary, "-c", "import customerio"], check=False, capture_output=True)
    return said.returncode == 0


def track(url: str, count: int) -> float:
    """Track so many events of about 300 bytes; returns how many a second."""
    from customerio import CustomerIO

    client = CustomerIO("SITE", "KEY")
    client.base_url = f"{url}/api/v1"
    client.track("warm-up", "purchased", {})
    began = time.perf_counter()
    for number in range(count):
        client.track(f"person-{number:07d}", "purchased", {"text": "x" * 130})
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    print(track(sys.argv[1], int(sys.argv[2])))
