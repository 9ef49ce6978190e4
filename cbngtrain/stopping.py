"""Ending on a signal, at once, whatever the main thread waits for."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

_INSISTENCE = 0.05  # seconds
_BOUNCE = 0.4  # seconds within which a second SIGINT is the first one, sent again


def stop_on_signals(kill: Callable[[], None], interrupt: Callable[[], None] = lambda: None) -> None:
    """
    On SIGTERM and SIGINT call *kill*, which must not wait, and end with 128 + the signal's number.

    Further signals are ignored from then on, since the end is short; but *interrupt* is told of
    every SIGINT, the first one included.
    """
    begun: list[float] = []

    def ignore(_number: int, _frame: object) -> None:
        """Do nothing: SIG_IGN would have Python complain of a signal that came just before."""

    def again(_number: int, _frame: object) -> None:
        if time.monotonic() - begun[-1] > _BOUNCE:
            begun.append(time.monotonic())
            interrupt()

    def stop(number: int, _frame: object) -> NoReturn:
        begun.append(time.monotonic())
        signal.signal(signal.SIGTERM, ignore)
        signal.signal(signal.SIGINT, again)
        if number == signal.SIGINT:
            interrupt()
        kill()
        raise SystemExit(128 + number)

    _have_signals_heard(begun)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _have_signals_heard(begun: Sequence[float]) -> None:
    """
    See to it that a signal is heard though the main thread waits for a lock.

    Python runs handlers in the main thread, between two of its instructions. A signal that comes
    just before that thread begins to wait for another does not end the wait, and nothing runs. So
    a thread, told of signals through a pipe, sends the signal again until *begun* is not empty.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)

    def insist() -> None:
        number = os.read(told, 1)[0]
        while not begun:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            time.sleep(_INSISTENCE)

    threading.Thread(target=insist, name="signals", daemon=True).start()
