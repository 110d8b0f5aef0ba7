"""What can go wrong with a checkpoint, as exceptions."""


class CheckpointError(RuntimeError):
    """Any problem with a checkpoint file or its contents."""


class CheckpointReadError(CheckpointError):
    """The file is missing, is no checkpoint, or is not safe to read."""


class CheckpointFormatError(CheckpointError):
    """The weights are in no known format, or do not fit the one named."""


class CheckpointMismatchError(CheckpointError):
    """The weights do not fit the module they were meant for.

    Args:
        message (str): What is wrong, for people.
        missing (tuple[str, ...]): See the attributes.
        mismatched (dict[str, tuple], optional): See the attributes.
        unexpected (tuple[str, ...]): See the attributes.

    Attributes:
        missing (tuple[str, ...]): Needed by the module, not in the file.
        mismatched (dict[str, tuple]): name -> (shape in the file, shape in
            the module).
        unexpected (tuple[str, ...]): Encoder weights of the file that the
            module has no place for.
    """

    def __init__(
        self,
        message: str,
        missing: tuple[str, ...] = (),
        mismatched: dict[str, tuple] | None = None,
        unexpected: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.mismatched = dict(mismatched or {})
        self.unexpected = tuple(unexpected)
