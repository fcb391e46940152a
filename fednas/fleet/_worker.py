"""Worker processes: one torch thread each, forked from a process that has imported torch.

A fork after threaded torch work hangs, and importing torch in each worker costs two seconds: so
they come from a forkserver that has imported it and done no torch work.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from multiprocessing import forkserver, resource_tracker
from typing import Any

from pebble import ProcessPool

from fednas.work import Source, Task, Usage, Work, execute

__all__ = ["begin", "do", "new_pool", "one_thread"]

_PR_SET_PDEATHSIG = 1


def new_pool(workers: int, begin: Callable[..., None], *arguments: Any) -> ProcessPool:
    """A pool whose workers first call ``begin(*arguments)``.

    Raises
    ------
    ModuleNotFoundError
        There is no torch: every worker would die of it.
    """
    if find_spec("torch") is None:
        raise ModuleNotFoundError("training needs torch", name="torch")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fednas.fleet._preload"])
    _start_forkserver()
    return ProcessPool(max_workers=workers, context=context, initializer=begin, initargs=arguments)


def _start_forkserver() -> None:
    """With Ctrl-C blocked, for it and all its children: while it imports torch it would die of it.

    The resource tracker comes first, since its start unblocks the signal.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the worker -------------------------------------------------------------------------------


def begin(parent: int) -> None:
    """Once in each worker: it ends with its parent, and leaves Ctrl-C to it."""
    _die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread()


def one_thread() -> None:
    """Make this process compute the bits that every other worker computes."""
    import torch
    import torch.utils.deterministic

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Deterministic mode would fill every fresh tensor with NaN first: a sixth of a training's time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def do(task: Task, source: Source) -> tuple[Work, Usage]:
    """Do a task, and measure it."""
    wall, cpu = time.monotonic(), time.process_time()
    work = execute(task, source)
    return work, Usage(
        cpu_seconds=time.process_time() - cpu,
        wall_seconds=time.monotonic() - wall,
        peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def _die_with_parent(parent: int) -> None:
    """Where the system knows how: no worker outlives a search that was killed."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError):
        return
    if os.getppid() == 1 or not _alive(parent):
        os._exit(1)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
