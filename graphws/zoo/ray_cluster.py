"""The workers of a Ray cluster, which work on the parts of a job."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from graphws.zoo.executors import Heard, Part, Queue, as_part, processors

__all__ = ["RayCluster", "check_installed"]

R = TypeVar("R")


def check_installed() -> None:
    """Refuse a job for Ray where there is none.

    Raises:
        ValueError: Saying how it is installed.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ValueError(
            'the executor ray needs the package ray, which is not installed: pip install "graphws[ray]"'
        ) from None


class RayCluster:
    """Works on parts in the workers of a Ray cluster: that of ``RAY_ADDRESS``, or one started on this machine.

    All machines need graphws, and the folders of the job by the same paths. A part has one processor. What parts tell
    while they are worked on is not heard.

    Args:
        workers: Number of parts at a time; None for as many as the cluster has processors.

    Raises:
        ValueError: If there is to be none, or Ray is not installed.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"a job needs at least one worker, found {workers}")
        check_installed()
        self.workers = workers
        self.heard: Heard | None = None

    def run(self, work: Callable[[Any], R], parts: Iterable[Part]) -> Iterator[tuple[int, R]]:
        import ray

        started = _connect(self.workers)
        count = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        queue, running = Queue(parts), dict[Any, Part]()
        remote = ray.remote(num_cpus=1, max_retries=0)(_perform)
        try:
            held = _put(work)
            while True:
                while len(running) < count and (part := queue.next()) is not None:
                    running[remote.remote(held, part.content)] = part
                if not running:
                    return
                for done in ray.wait(list(running), num_returns=1)[0]:
                    part = running.pop(done)
                    try:
                        result = ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause from None
                    except ray.exceptions.RayError as error:
                        queue.lost(part, f"is gone ({type(error).__name__})")
                    else:
                        yield part.number, result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)
            if started:
                ray.shutdown()


def _connect(workers: int | None) -> bool:
    """Join the cluster of the environment, or start one here; whether this was done now."""
    import ray

    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    more = {} if address else {"num_cpus": workers or processors(), "include_dashboard": False}
    ray.init(address or "local", log_to_driver=False, logging_level="error", **more)
    return True


def _put(work: Callable[[Any], Any]) -> Any:
    """The job's function where all workers find it.

    Raises:
        ValueError: If it can't be sent to another process.
    """
    import ray

    try:
        return ray.put(work)
    except TypeError as error:
        raise ValueError(
            f"the executor ray sends this job to other processes, which can't be done: {str(error).splitlines()[0]}; "
            "the executor processes can"
        ) from None


def _perform(work: Callable[[Any], R], content: Any) -> R:
    """Work on a part; what a worker of the cluster does."""
    with as_part(None, 1):
        return work(content)
