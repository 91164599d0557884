"""What is measured. Each function runs in a process of its own and returns figures."""

from __future__ import annotations

CASES = {
    "saving": "benchmarks.cases.saving:saving",
    "reading": "benchmarks.cases.saving:reading",
    "events": "benchmarks.cases.draining:events",
    "states": "benchmarks.cases.draining:states",
    "busy": "benchmarks.cases.draining:busy_people",
    "workers": "benchmarks.cases.workers:with_latency",
    "backlog": "benchmarks.cases.backlog:backlog",
    "latency": "benchmarks.cases.latency:commit_to_request",
    "statements": "benchmarks.cases.statements:per_batch",
}
"""Name, for ``--only``, to where it stands. Nothing of Django is imported for it."""
