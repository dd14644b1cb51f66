"""A child that is forked from a process which has been in a cluster: it leaves alone what is Ray's.

A fork copies one thread of many. Ray's end would wait in the child for threads that are not there,
or crash, and it would end the parent's cluster. So the child ends without it, in its own way.
"""

import atexit
import contextlib
import ctypes
import os
import sys
from typing import Any

from ray._private import state, worker

from edgesplit.errors import ClusterError


class Forks:
    """Whether this process is such a child."""

    def __init__(self) -> None:
        self._has_joined = self._is_child = False

    def joined(self) -> None:
        """This process is in a cluster, or was: what is forked from it from now on is such one."""
        if not self._has_joined:
            self._has_joined = True
            os.register_at_fork(after_in_child=self._begin)

    def check(self) -> None:
        """Raise ClusterError in a child."""
        if self._is_child:
            raise ClusterError(
                "this process was forked from one in which EdgeSplit had joined a Ray cluster, "
                "and Ray does not work in such a child. Start it with multiprocessing's 'spawn' "
                "or by subprocess, or fork before the first EdgeSplit opens"
            )

    def _begin(self) -> None:
        self._is_child = True
        atexit.unregister(worker.shutdown)
        worker.global_worker.set_is_connected(False)  # what is dropped says nothing to Ray any more
        if sys.excepthook is worker.custom_excepthook:
            sys.excepthook = worker.normal_excepthook
        for one in (worker.global_worker, worker._global_node, state.state):
            _keep_for_ever(one)
        _end_without_destructors()


def _keep_for_ever(one: Any) -> None:
    """Its end would be that of Ray's connections."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


def _end_without_destructors() -> None:
    """Once Python has ended in order, end the process: those of Ray's C++ objects would crash.

    What is registered last is called first: the files of C are written out, then _exit gets the
    exit status, which glibc hands to what on_exit() has registered.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # a C library without it
        libc.on_exit(libc._exit, None)
        libc.__cxa_atexit(libc.fflush, None, None)


FORKS = Forks()  # the process's
