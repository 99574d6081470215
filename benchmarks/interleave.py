"""Contenders in processes of their own on the same cores, taking turns, so that what else the machine does meets all alike."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Step = Callable[[], float]  # one step; gives a number that says what it computed


class Measured(NamedTuple):
    """seconds: of every step, in the order of the rounds; value: the last step's own number; memory: the most bytes held, mapped
    files apart.
    """

    seconds: list[float]
    value: float
    memory: int


def measure(
    makers: Sequence[tuple[Callable[..., Step], tuple[Any, ...]]],
    rounds: int,
    warm_up: int,
    environment: Mapping[str, str] | None = None,
    cpu_time: bool = False,
) -> list[Measured]:
    """Time the steps that functions make: all take turns, one step each, for `rounds` rounds.

    Args:
      makers: a module's function and its arguments, each called in a process of its own.
      rounds: steps of each.
      warm_up: steps of each before the first that counts.
      environment: variables that the processes have from their start.
      cpu_time: count the time that a process computes, on whatever threads, and not that in which it waits for a core.

    Raises:
      RuntimeError: a contender failed.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    before = dict(os.environ)
    os.environ.update(environment or {})  # glibc reads its own when a program starts
    try:
        for maker, arguments in makers:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, maker, arguments, cpu_time), daemon=True)
            process.start()
            there.close()
            pipes.append(here)
            processes.append(process)
            for _ in range(warm_up):  # one at a time: compiling would disturb the others
                _ask(here)
        seconds: list[list[float]] = [[] for _ in pipes]
        values = [0.0] * len(pipes)
        for turn in range(rounds):
            for k in range(len(pipes)):  # another one first each time, so that nobody always follows the same one
                i = (turn + k) % len(pipes)
                spent, values[i] = _ask(pipes[i])
                seconds[i].append(spent)
        memory = [_ask(pipe, False) for pipe in pipes]
        return [Measured(*found) for found in zip(seconds, values, memory, strict=True)]
    finally:
        os.environ.clear()
        os.environ.update(before)
        for process in processes:
            process.terminate()
            process.join()


def _ask(pipe: Any, go_on: bool = True) -> Any:
    try:
        pipe.send(go_on)
        answer = pipe.recv()
    except (EOFError, OSError):
        raise RuntimeError("A contender's process ended; it may have run out of memory.") from None
    if isinstance(answer, Exception):
        raise RuntimeError(f"A contender failed: {answer}") from answer
    return answer


def _serve(pipe: Any, maker: Callable[..., Step], arguments: tuple[Any, ...], cpu_time: bool) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries announce themselves
    clock = time.process_time if cpu_time else time.perf_counter
    try:
        step = maker(*arguments)
        while pipe.recv():
            began = clock()
            value = step()
            pipe.send((clock() - began, value))
    except Exception as error:
        pipe.send(RuntimeError(f"{maker.__module__}.{maker.__name__}{arguments}: {error}"[:500]))
        return
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # Pages of mapped files are the kernel's to drop.
    pipe.send(1024 * (int(status["VmHWM"].split()[0]) - int(status["RssFile"].split()[0])))
