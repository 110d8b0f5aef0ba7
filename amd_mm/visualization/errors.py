class VisualizationError(ValueError):
    """Something cannot be shown; the message says what to change."""
