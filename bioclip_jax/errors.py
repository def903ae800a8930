"""Errors that the command line prints in one line, and helpers for their messages."""

from collections.abc import Iterable, Sequence


class UserError(Exception):
    """A mistake of the caller, as one line: what, where, what to do.

    The command line prints it as `error: ...` and exits with status 2, without a traceback.
    """


class InvalidValue(UserError, ValueError):
    """A UserError that is a ValueError too, which callers of pybioclip's functions catch."""


class DataMissing(UserError):
    """The data of an evaluation are missing; a suite skips it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; the command line prints its message, which says what is kept and how to resume."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def interrupt_status(error: BaseException | None) -> int:
    """Return the exit status of an interrupted command: 143 if SIGTERM caused `error`, else 130."""
    # A verb may have re-raised SIGTERM as an Interrupted that says what is kept.
    while error is not None:
        if isinstance(error, Terminated):
            return 143
        error = error.__context__
    return 130


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type if it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def count_of(count: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: 1 image, 1,200 images."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def listing(names: Sequence[str], most: int) -> str:
    """Return the first `most` names for a message, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def closest(name: str, known: Iterable[str], *, n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to `n` entries of `known` spelled similarly to `name`, ignoring case, best first.

    cutoff: the least difflib ratio.
    """
    import difflib

    by_lower = {str(text).lower(): str(text) for text in known}
    return [by_lower[text] for text in difflib.get_close_matches(str(name).lower(), by_lower, n, cutoff)]


def did_you_mean(
    name: str, known: Iterable[str], otherwise: str = "", *, n: int = 1, cutoff: float = 0.6
) -> str:
    """Return "; did you mean X?" to end a message with; "; `otherwise`" if nothing is spelled like `name`."""
    near = closest(name, known, n=n, cutoff=cutoff)
    hint = f"did you mean {' or '.join(near)}?" if near else otherwise
    return f"; {hint}" if hint else ""
