"""Moved to ``amd_mm.models.utils``."""

from amd_mm.models.utils import position_table, resize_position_table

__all__ = ['position_table', 'resize_position_table']
