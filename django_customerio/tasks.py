"""Where Celery's ``autodiscover_tasks`` looks. Other task queues look here too, and get nothing.

What a site says to Celery goes out by ``CUSTOMERIO["SENDER"]``; see ``senders.celery``.
"""

from __future__ import annotations

import sys

# Who discovers for Celery has loaded it. For others it need not even be installed.
if "celery" in sys.modules:
    from .senders import celery  # noqa: F401
