"""A pool of worker processes that computes in this process."""

from __future__ import annotations

import pickle

from cores.workers import Outcome, Pool


class PoolHere(Pool):
    """Computes the tasks of a pool here, from and to pickles as a process gets them.

    Attributes:
        most: before the task of this number, from 0, the user interrupts; None for never.
    """

    most = None
    tasks, is_full = [], False

    def __init__(self, _size, _threads, prepare, *arguments):
        self._preparing = prepare(*pickle.loads(pickle.dumps(arguments)))
        self._compute, self._done = self._preparing.__enter__(), 0
        self.tasks, self.is_full = [], False

    def submit(self, task):
        if self._done == self.most:
            raise KeyboardInterrupt
        self._done += 1
        self.tasks, self.is_full = [task], True

    def wait(self):
        (task,), self.tasks, self.is_full = self.tasks, [], False
        result = pickle.loads(pickle.dumps(self._compute(pickle.loads(pickle.dumps(task)))))
        return [Outcome(task, result, None, 0.0)]

    def close(self):
        self._preparing.__exit__(None, None, None)
