"""What the tests of action detection need."""

import pytest


def skip_without_mmdet() -> None:
    """Skip a test where mmdet is missing."""
    pytest.importorskip('mmdet', reason='action detection needs mmdet')
