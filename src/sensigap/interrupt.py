"""How a job ends when it is asked to: it keeps what it has, says so and goes.

SIGINT and SIGTERM are such a request, once `install` has been called; where it has not, as in a
notebook, `requested` stays false and Ctrl-C means what it always does.
"""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

#: exit status of a process that ended because it was asked to
STATUS = 130
#: seconds after which a process ends that was asked to and has not: the exception may have been
#: raised where Python drops exceptions, or threads may be waited for
PATIENCE_S = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """The process was asked to end. No `Exception`: nobody should go on after it."""


class _Requests:
    """What has been asked of this process."""

    made = False
    #: contexts of `deferred` at hand
    deferred = 0


_requests = _Requests()


def install() -> None:
    """Takes SIGINT and SIGTERM as the request to end; call it from the main thread.

    The first one raises `Interrupted` wherever the main thread is, except within `deferred`. More
    of them change nothing. A signal that the process was started to ignore stays ignored.

    Raises:
        ValueError: this is not the main thread.
    """
    _requests.made = False
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _request)
    sys.unraisablehook = _unraisable


def ignore() -> None:
    """Ignores SIGINT and SIGTERM from here on: the process is about to end by itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def requested() -> bool:
    """Whether this process has been asked to end."""
    return _requests.made


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within it a request is only noted; the code inside asks `requested` where it can stop."""
    _requests.deferred += 1
    try:
        yield
    finally:
        _requests.deferred -= 1


def _request(_signal: int, _frame: FrameType | None) -> None:
    first = not _requests.made
    _requests.made = True
    if first and not _requests.deferred:
        if hasattr(signal, "setitimer"):
            # a thread might wait for a lock that the interrupted code holds
            signal.signal(signal.SIGALRM, _end)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        raise Interrupted("asked to end")


def _end(_signal: int, _frame: FrameType | None) -> None:
    logger.info("asked to end, which took too long: ended by force")
    os._exit(STATUS)


def _unraisable(unraisable: Any) -> None:
    # raised in a destructor it would be told on stderr; `_end` sees to it that the process ends
    if not isinstance(unraisable.exc_value, Interrupted):
        sys.__unraisablehook__(unraisable)
