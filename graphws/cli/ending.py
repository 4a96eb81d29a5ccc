"""A command that another one has started ends with it, however that one ends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping

__all__ = ["end_with_starter", "tied"]

TIED = "GRAPHWS_ENDS_WITH_ITS_STARTER"
GRACE = 10.0  # seconds to end by itself


def tied(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that :func:`end_with_starter` ends; its standard input must be a pipe of ours."""
    return {**environment, TIED: "1"}


def end_with_starter() -> None:
    """Where the environment says so, end this process once the pipe that is its standard input is closed.

    The system closes the pipe when the process that holds its other end is gone, be it killed.
    """
    if os.environ.pop(TIED, None) is not None:  # those that this one starts are not tied to the pipe
        threading.Thread(target=_wait, daemon=True, name="ends with its starter").start()


def _wait() -> None:
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
