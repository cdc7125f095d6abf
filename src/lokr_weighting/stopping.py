"""Ctrl-C and SIGTERM: one line and a documented exit code, whatever is being done."""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from lokr_weighting.processes import is_main

INTERRUPTED, TERMINATED = 130, 143
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Stop:
    """Whether one is waited for, what has come, and whether the user was told."""

    awaited = False
    number: int | None = None
    said = False


_stop = _Stop()


def code() -> int:
    """The exit code: 130 for Ctrl-C, 143 for SIGTERM."""
    return TERMINATED if _stop.number == signal.SIGTERM else INTERRUPTED


def say(kept: str) -> None:
    """Tell the user that the command was stopped, and what is kept; once."""
    if not _stop.said and is_main():
        word = "terminated" if code() == TERMINATED else "interrupted"
        # it may have come while standard error was written to
        with suppress(OSError, RuntimeError, ValueError):
            print(f"\n{word}: {kept}", file=sys.stderr, flush=True)  # noqa: T201
    _stop.said = True


def command() -> str:
    """The command as it was given, for a shell."""
    return shlex.join(["lokr-weighting", *sys.argv[1:]])


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn an interruption into one line and an exit code.

    A second one ends the process at once, and so does one that Python could only ignore (it came
    in a callback). Inside another of these nothing is done.
    """
    if _stop.awaited or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.signal(number, _interrupt) for number in SIGNALS}
    _stop.awaited = True
    unraisable, sys.unraisablehook = sys.unraisablehook, _unraisable
    try:
        yield
    except BaseException as error:
        by_typer = isinstance(error, SystemExit) and error.code == INTERRUPTED
        if _stop.number is None and not by_typer and not isinstance(error, KeyboardInterrupt):
            raise
        _say_generally()
        raise SystemExit(code()) from None
    finally:
        _stop.awaited, _stop.number, _stop.said = False, None, False
        sys.unraisablehook = unraisable
        for number, handler in handlers.items():
            signal.signal(number, handler)


def without_word() -> None:
    """When all is done: while Python ends, an interruption has nothing to say any more."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _: Any) -> None:
    if _stop.number is not None:
        _end()
    _stop.number = number
    raise KeyboardInterrupt


def _unraisable(ignored: Any) -> None:
    if _stop.number is not None:
        _end()
    sys.__unraisablehook__(ignored)


def _end() -> NoReturn:
    _say_generally()
    os._exit(code())


def _say_generally() -> None:
    say(f"what was finished is kept, and the same command goes on: {command()}")
