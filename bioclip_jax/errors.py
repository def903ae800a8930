"""The one error that is meant for a person."""


class UserError(Exception):
    """A mistake of the caller, told in one line: what, where, what to do.

    The command line prints it as `error: ...` and exits with status 2, without a traceback.
    """


class InvalidValue(UserError, ValueError):
    """A UserError where pybioclip's functions of the same names raise a ValueError, so that its callers catch it."""


class DataMissing(UserError):
    """Data that are not where they were said to be: a suite goes on without them."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what is kept and how to resume as its text, which the command line prints."""
