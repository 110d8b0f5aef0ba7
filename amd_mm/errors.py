"""Exceptions of amd_mm: ValueErrors that name the key, file or value, and the remedy."""


class ConfigError(ValueError):
    """A config, a command-line option or a combination of them is wrong."""


class CheckpointError(ValueError):
    """A checkpoint or another saved file cannot be read, or does not fit the model."""


class VideoError(ValueError):
    """A video, an image, an annotation or a list of them cannot be used."""
