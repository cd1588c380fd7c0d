"""What the workers of test_worker_processes.py do: a module that they import quickly."""

import os
import signal
import sys
import time


def square(n):
    print("printed in a worker")
    return n * n


def slow_first(n):
    time.sleep(0.3 if n == 0 else 0)
    return n


def modules(_):
    return (
        os.getpid(),
        "tensorflow" in sys.modules,
        getattr(sys.modules["__main__"], "__file__", ""),
    )


def fails_at_3(n):
    if n == 3:
        raise FileNotFoundError(2, "No such file", "three")
    return n


class Odd(Exception):
    """Cannot be made again from what pickle keeps of it."""

    def __init__(self, one, two):
        super().__init__(one)


def fails_oddly(n):
    raise Odd("odd", n)


def dies_at_3(n):
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n
