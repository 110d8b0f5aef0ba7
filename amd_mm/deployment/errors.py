"""What can go wrong when a model becomes a program."""


class ExportError(Exception):
    """The model cannot be exported so; the message says what to change."""
