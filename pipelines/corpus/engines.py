"""What computes the tasks of a corpus run: processes of this machine, or Ray Data on many.

A task whose process or machine is lost has no result; the run hands its pages out once more.
"""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cores.memory import share_weights
from cores.threads import PRIMITIVES, SLEEPING
from cores.workers import Pool, Prepare
from pipelines.errors import UsageError

CONNECT_TIMEOUT = 10
"""Seconds until a cluster has to answer."""


class Engine(Protocol):
    """Computes tasks in any order."""

    def map(
        self, prepare: Prepare[Any, Any], arguments: Sequence[Any], tasks: Sequence[Any]
    ) -> Iterator[Any]:
        """Yield the results of tasks, but for those whose process was lost.

        Args:
            prepare: sets a process up, and gives the function that computes a task.
            arguments: of `prepare`.
            tasks: the tasks; they, the arguments and the results can be pickled.
        """


@dataclass(frozen=True)
class LocalEngine:
    """Processes of this machine.

    Attributes:
        workers: the number of processes.
        threads: the number of threads of each.
    """

    workers: int
    threads: int

    def map(
        self, prepare: Prepare[Any, Any], arguments: Sequence[Any], tasks: Sequence[Any]
    ) -> Iterator[Any]:
        """Yield the results of tasks, but for those whose process died."""
        rest = iter(tasks)
        pool: Pool[Any, Any] = Pool(
            min(self.workers, len(tasks)), self.threads, prepare, *arguments
        )
        with pool:
            while True:
                while not pool.is_full and (task := next(rest, None)) is not None:
                    pool.submit(task)
                if not pool.tasks:
                    return
                for outcome in pool.wait():
                    if outcome.error is None:
                        yield outcome.result


@dataclass(frozen=True)
class RayEngine:
    """Actors of Ray Data, on the machines of a cluster.

    Attributes:
        address: of the cluster; None for the one that RAY_ADDRESS names, else one on this machine.
        workers: the largest number of actors.
        cpus: the number of cores of each.
        gpus: the number of GPUs of each.
    """

    address: str | None
    workers: int | None
    cpus: float = 1
    gpus: float = 0
    environment: dict[str, str] = field(
        default_factory=lambda: {**SLEEPING, "ONEDNN_PRIMITIVE_CACHE_CAPACITY": str(PRIMITIVES)}
    )

    def map(
        self, prepare: Prepare[Any, Any], arguments: Sequence[Any], tasks: Sequence[Any]
    ) -> Iterator[Any]:
        """Yield the results of tasks, but for those whose actor or machine was lost."""
        import ray

        if not ray.is_initialized():
            self._connect(ray)
        try:
            yield from self._map(ray, prepare, arguments, tasks)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise UsageError(
                f"Ray has stopped the run, which can be started again: {reason}"
            ) from (error)

    def _connect(self, ray: Any) -> None:
        """Connect to the cluster, or start one."""
        try:
            host, _, port = (self.address or "").rpartition("://")[2].rpartition(":")
            if host and port.isdecimal():  # Ray itself would try for many minutes
                socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
            ray.init(
                self.address,
                log_to_driver=False,
                logging_level="warning",
                runtime_env={"env_vars": self.environment},
            )
        except (OSError, RuntimeError, ValueError) as error:
            name = self.address or "on this machine"
            raise UsageError(f"--ray: the cluster {name} cannot be reached: {error}") from error

    def _map(
        self, ray: Any, prepare: Prepare[Any, Any], arguments: Sequence[Any], tasks: Sequence[Any]
    ) -> Iterator[Any]:
        """Yield the results of tasks that Ray Data computes."""
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.max_errored_blocks = -1  # a lost task is no error, but has no result
        context.enable_progress_bars = False
        most = self.workers or max(1, int(self._available(ray) or 1))
        items = [{"task": pickle.dumps(task)} for task in tasks]
        data = ray.data.from_items(items, override_num_blocks=len(items))
        results = data.map(
            _Actor,
            fn_constructor_args=(prepare, tuple(arguments)),
            compute=ray.data.ActorPoolStrategy(
                size=min(most, len(items)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=self.cpus,
            num_gpus=self.gpus or None,
            max_restarts=-1,
            max_task_retries=0,
        )
        for row in results.iter_rows():
            yield pickle.loads(row["result"])  # which an actor of this run has made

    def _available(self, ray: Any) -> float:
        """Return how many actors the cluster has room for."""
        resources = ray.cluster_resources()
        if self.gpus:
            return float(resources.get("GPU", 0) // self.gpus)
        return float(resources.get("CPU", 0) // self.cpus)


class _Actor:
    """Computes the tasks that Ray Data hands out, each pickled in a row."""

    def __init__(self, prepare: Prepare[Any, Any], arguments: Sequence[Any]) -> None:
        share_weights()
        self._context = prepare(*arguments)  # which lasts as long as the actor
        self._compute = self._context.__enter__()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Compute a task."""
        return {"result": pickle.dumps(self._compute(pickle.loads(row["task"])))}
