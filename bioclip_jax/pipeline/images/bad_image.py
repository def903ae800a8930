"""The error of bytes that are no readable image."""


class BadImage(ValueError):
    """Bytes that cannot be decoded to an image; `cause` is in CAUSES, or "too_thin" from Preprocess."""

    def __init__(self, cause: str, message: str):
        super().__init__(message)
        self.cause = cause
