"""The fixture ``customerio_outbox``, for whoever uses pytest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import Captured


@pytest.fixture
def customerio_outbox() -> Iterator[Captured]:
    """What would be said to Customer.io during the test, see ``django_customerio.testing``."""
    # Imported late: plugins load before Django is set up.
    from .testing import capture

    with capture() as captured:
        yield captured
