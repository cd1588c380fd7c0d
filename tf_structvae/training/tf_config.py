"""TF_CONFIG: the environment variable that describes its cluster to a worker.

Where a scheduler describes it in another way, `resolve` writes the variable.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

CLUSTERS = ("tf_config", "slurm", "kubernetes")
"""Where a worker learns of its cluster: TF_CONFIG, Slurm's variables, a StatefulSet's host name."""
PORT = 2222
WORKERS, SERVICE = "STRUCTVAE_WORKERS", "STRUCTVAE_SERVICE"


def of_worker(addresses: list[str], index: int) -> str:
    """TF_CONFIG of worker number `index` of those at the addresses "host:port"."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})


def resolve(cluster: str) -> None:
    """Sets TF_CONFIG of this process from what a scheduler has set.

    "tf_config": it is set already, as Kubeflow's TFJob does;
    "slurm": by TensorFlow's `SlurmClusterResolver`, of a job step with one task a node or more;
    "kubernetes": in a pod of a StatefulSet, whose host name ends with its number, from
      STRUCTVAE_WORKERS, their number, and STRUCTVAE_SERVICE, the headless service.

    Args:
      cluster: one of `CLUSTERS`.

    Raises:
      ValueError: another name, or the scheduler's variables are not there.
    """
    if cluster not in CLUSTERS:
        raise ValueError(f"cluster must be one of {CLUSTERS}, got {cluster!r}.")
    if cluster == "slurm":
        os.environ["TF_CONFIG"] = _of_slurm()
    elif cluster == "kubernetes":
        os.environ["TF_CONFIG"] = of_stateful_set(os.environ)


def _of_slurm() -> str:
    needed = ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_PROCID")
    missing = [name for name in needed if name not in os.environ]
    if missing:
        raise ValueError(
            f"cluster=slurm needs {', '.join(missing)}, which Slurm sets in a job step: start "
            "bin/train by srun."
        )
    import tensorflow as tf

    # Slurm gives each task its devices; without numbers of them the resolver asks nvidia-smi
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=PORT, gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False
    )
    addresses = resolver.cluster_spec().as_dict()["worker"]
    return of_worker(list(addresses), resolver.get_task_info()[1])


def of_stateful_set(environ: Mapping[str, str]) -> str:
    """TF_CONFIG of a pod NAME-k of a StatefulSet.

    Args:
      environ: with HOSTNAME, `WORKERS` and `SERVICE`.

    Raises:
      ValueError: one of them is missing, or they do not fit each other.
    """
    host, count, service = (environ.get(n, "") for n in ("HOSTNAME", WORKERS, SERVICE))
    found = re.fullmatch(r"(.+)-(\d+)", host)
    if not found or not service or not count.isdigit() or not int(found[2]) < int(count):
        raise ValueError(
            f"cluster=kubernetes needs HOSTNAME as NAME-k with k below {WORKERS}, and {SERVICE}, "
            f"got {host!r}, {count!r} and {service!r}."
        )
    hosts = [f"{found[1]}-{k}.{service}:{PORT}" for k in range(int(count))]
    return of_worker(hosts, int(found[2]))


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
    """Whether this process is the one that writes, as far as it is known before TensorFlow.

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
