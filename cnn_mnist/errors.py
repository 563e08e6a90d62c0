"""Errors and notices for the user, and how a command prints them."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn

from cnn_mnist.neutral import any_encoding, printable, say


class UserError(ValueError):
    """A mistake that the user can fix. Its one line says what was expected, what was given and what to do."""


def expect(where: object, holds: bool, expected: str, actual: object) -> None:
    """Raises ``UserError`` unless something holds.

    Args:
        where: The setting, flag, file or layer.
        holds: Whether it is right.
        expected: What was expected.
        actual: What was given; and the remedy, after a semicolon, if it is not obvious.
    """
    if not holds:
        raise UserError(f"{where}: expected {expected}, got {actual}")


def in_one_line(error: object, most: int = 120) -> str:
    """The text of an error without line breaks, cut to a length."""
    return " ".join(str(error).split())[:most]


@contextmanager
def told_of(where: str) -> Iterator[None]:
    """Prefixes the message of a ``UserError`` with its file or layer."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}{error}") from None


def of_system(error: object) -> str:
    """What the operating system says of an error, without the file's name; else its text in one line."""
    return getattr(error, "strerror", None) or in_one_line(error)


@contextmanager
def as_user_error(
    start: str,
    end: str = "",
    reason: Callable[[object], str] = in_one_line,
    kinds: tuple[type[Exception], ...] = (Exception,),
) -> Iterator[None]:
    """Turns other errors into a ``UserError``.

    Args:
        start: Beginning of the message, before the reason in parentheses.
        end: End of the message.
        reason: What an error says, in one line.
        kinds: The errors; by default all, because each kind of damage of a file raises another.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(f"{start} ({reason(error)}){end}") from None


def no_gpu(library: str, found: str = "none", remedy: str = "") -> UserError:
    """The error of ``--trainer.accelerator=gpu`` where a library, named with its version, can use no GPU."""
    came = f"expected a GPU that {library} can use, found {found}"
    return UserError(f"--trainer.accelerator=gpu: {came}; {remedy}use --trainer.accelerator=cpu")


class Terminated(KeyboardInterrupt):
    """SIGTERM was received, for example from a cluster whose time limit is reached."""


class UserNotice(UserWarning):
    """One line that the user should know; the command continues."""


def notify(text: str, stacklevel: int = 3) -> None:
    """Gives a ``UserNotice``; a Python script sees it at the caller of the caller, or further out."""
    warnings.warn(UserNotice(text), stacklevel=stacklevel)


_SYNONYMS = {
    "lr": "learning_rate",
    "alpha": "rho",
    "eps": "epsilon",
    "betas": "beta_1",
    "seed": "seed_everything",
    "epochs": "max_epochs",
    "train": "fit",
    "eval": "test",
    "evaluate": "test",
}


def few(names: Sequence[str], most: int = 6) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def nearest(typed: str, known: Iterable[str]) -> str:
    """Suggests the known name that is most similar to a typed one.

    A flag without its group is compared with the last parts of the known flags.

    Args:
        typed: An unknown name, flag or command.
        known: The valid ones.

    Returns:
        ``"; did you mean ...?"``, or an empty string if no name is similar.

    Example:
        >>> nearest("--lr", ["--model.learning_rate", "--model.rho", "--help"])
        '; did you mean --model.learning_rate?'
    """
    group, _, name = typed.removeprefix("--").rpartition(".")
    name, names = _SYNONYMS.get(name, name), list(known)
    last_parts = {} if group else {full.rpartition(".")[2]: full for full in names if "." in full}
    full = f"{'--' * typed.startswith('--')}{group}.{name}".replace("--.", "--").lstrip(".")
    found = [last_parts[name]] if name in last_parts else get_close_matches(full, names, n=1)
    found = found or [last_parts[part] for part in get_close_matches(name, last_parts, n=1)]
    found = found or get_close_matches(typed, names, n=1)  # a synonym that this command does not have
    return f"; did you mean {found[0]}?" if found else ""


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Prints each ``UserNotice`` as ``program: warning: ...`` and turns errors into one line and an exit code.

    A ``UserError`` or ``OSError`` is printed as ``program: error: ...`` on stderr; the exit code is 1. After an
    interrupt the exit code is 130, after SIGTERM 143, and the text of the ``KeyboardInterrupt`` is printed, by default
    ``interrupted``.

    Args:
        program: The command, for example ``"python -m cnn_mnist"``.
    """

    def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, UserNotice):
            print(f"{program}: warning: {_one_line(message)}", file=sys.stderr)
        else:
            previous(message, category, *args, **kwargs)

    any_encoding(sys.stdout)
    any_encoding(sys.stderr)
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserNotice)
        previous, warnings.showwarning = warnings.showwarning, show
        handler = signal.signal(signal.SIGTERM, _terminate) if _receives_signals() else None
        try:
            yield
        except UserError as error:
            sys.exit(f"{program}: error: {_one_line(error)}")
        except BrokenPipeError:  # the reader of the output, for example head, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            where = f" at {_one_line(error.filename)}" if error.filename else ""
            reason = f"got {error.strerror or error}{where}"
            sys.exit(f"{program}: error: expected readable and writable files, {reason}; fix the file or its folder")
        except KeyboardInterrupt as interrupt:
            say(f"{program}: {str(interrupt) or 'interrupted'}", sys.stderr)
            sys.exit(143 if isinstance(interrupt, Terminated) else 130)
        finally:
            if handler is not None:
                signal.signal(signal.SIGTERM, handler)


def _one_line(text: object) -> str:
    return printable(" ".join(str(text).splitlines()))  # a file name may contain line breaks


def _receives_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminate(*_: Any) -> NoReturn:
    raise Terminated
