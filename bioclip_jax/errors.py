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


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def interrupt_status(error: BaseException | None) -> int:
    """The exit status of an interrupted command: 143 if SIGTERM is behind `error`, else 130.

    A verb may have replaced the interrupt by one that says what is kept.
    """
    while error is not None:
        if isinstance(error, Terminated):
            return 143
        error = error.__context__
    return 130
