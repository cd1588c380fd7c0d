"""TF_CONFIG: the environment variable that tells a worker of its cluster. Needs no TensorFlow."""

from __future__ import annotations

import json
import os


def of_worker(addresses: list[str], index: int) -> str:
    """TF_CONFIG of worker number `index` of those at the addresses "host:port"."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def check(text: str | None) -> None:
    """Raises a ValueError that says what TF_CONFIG must look like, unless it does."""
    reason = _mistake(text)
    if reason:
        example = of_worker(["host0:2222", "host1:2222"], 0)
        raise ValueError(
            f"distribute=multi_worker needs TF_CONFIG, but {reason}. On the first of two hosts:\n"
            f"  TF_CONFIG='{example}'\n"
            "and on the second the same with index 1."
        )


def writes(distribute: str) -> bool:
    """Whether this process is the one that writes, as far as it can be told before TensorFlow.

    Args:
      distribute: one of `cluster.STRATEGIES`.

    Raises:
      ValueError: it is one of several workers, but TF_CONFIG does not say which.
    """
    if distribute != "multi_worker":
        return True
    text = os.environ.get("TF_CONFIG", "")
    check(text)
    return json.loads(text)["task"]["index"] == 0


def _mistake(text: str | None) -> str | None:
    if not text:
        return "it is not set"
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses, kind, index = cluster["worker"], task["type"], task["index"]
    except json.JSONDecodeError as error:
        return f"it is not JSON ({error})"
    except (KeyError, TypeError):
        return "a field is missing"
    if len(cluster) > 1 or kind != "worker":
        return 'it has tasks that are not of the type "worker"'
    if not (isinstance(addresses, list) and addresses and all(map(_is_address, addresses))):
        return '"worker" is not a list of "host:port"'
    if len(set(addresses)) < len(addresses):
        return "two workers have the same address"
    if type(index) is not int or not 0 <= index < len(addresses):
        return f'"index" is {index!r} and not one of 0 to {len(addresses) - 1}'
    return None


def _is_address(word: object) -> bool:
    if not isinstance(word, str):
        return False
    host, _, port = word.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536
