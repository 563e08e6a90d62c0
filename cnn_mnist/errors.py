"""The one kind of error a user can mend, and how a command line ends on it."""

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, NoReturn


class UserError(ValueError):
    """A mistake the user can mend; its one line says what was expected, what came and what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: somebody else interrupts, for example a cluster whose time is up."""


class UserNotice(UserWarning):
    """Something the user should know that stops nothing; one line."""


_ALSO_CALLED = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon", "betas": "beta_1", "epochs": "max_epochs"}


def nearest(typed: str, known: Iterable[str]) -> str:
    """``"; did you mean ...?"`` with the known name that is most like the typed one; empty where none is.

    Example:
        >>> nearest("--model.lr", ["--model.learning_rate", "--model.rho"])
        '; did you mean --model.learning_rate?'
    """
    group, _, name = typed.rpartition(".")
    usual = f"{group}.{_ALSO_CALLED.get(name, name)}".lstrip(".")
    found = get_close_matches(usual, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Prints a ``UserNotice`` as ``program: warning: ...``, and ends the process on a ``UserError``.

    The error is printed as ``program: error: ...`` on stderr and the exit code is 1; likewise where a disk or folder
    fails. When the user interrupts, it is 130, on SIGTERM 143, and the ``KeyboardInterrupt``'s own text is printed, or
    that it was interrupted.

    Args:
        program: What the user typed, for example ``"python -m cnn_mnist"``.
    """

    def show(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, UserNotice):
            print(f"{program}: warning: {_in_a_line(message)}", file=sys.stderr)
        else:
            usual(message, category, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserNotice)
        usual, warnings.showwarning = warnings.showwarning, show
        before = signal.signal(signal.SIGTERM, _terminate) if _may_take_signals() else None
        try:
            yield
        except UserError as error:
            sys.exit(f"{program}: error: {_in_a_line(error)}")
        except BrokenPipeError:  # who read the output, for example head, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            where = f" at {_in_a_line(error.filename)}" if error.filename else ""
            reason = f"got {error.strerror or error}{where}"
            sys.exit(f"{program}: error: expected files that can be read and written, {reason}; see to it")
        except KeyboardInterrupt as interrupt:
            print(f"{program}: {str(interrupt) or 'interrupted'}", file=sys.stderr)
            sys.exit(143 if isinstance(interrupt, Terminated) else 130)
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)


def _in_a_line(text: object) -> str:
    return " ".join(str(text).splitlines())  # a file's name may hold line breaks


def _may_take_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminate(*_: Any) -> NoReturn:
    raise Terminated
