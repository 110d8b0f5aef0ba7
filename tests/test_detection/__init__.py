"""Tests of action detection."""

import amd_mm  # noqa: F401, its import-time fixes serve what follows
