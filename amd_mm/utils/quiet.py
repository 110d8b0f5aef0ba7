"""Less talk while a tool builds and loads many models."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warnings_only() -> Iterator[None]:
    """Log nothing below a warning, in the whole process, for a while.

    Every model says how it was initialised and every checkpoint what was
    taken of it, which would hide a tool's own tables.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
