"""What schedulers set, as TF_CONFIG; and the manifests of examples/cluster."""

import json
import os
import re
import subprocess

import pytest
import yaml
from absl import flags
from page_programs import ROOT
from program_flags import program

from tf_structvae.training import tf_config

CLUSTER = ROOT / "examples/cluster"


def flags_of(name):
    with program(name) as module:
        found = flags.FLAGS.flags_by_module_dict()[module.__name__]
        return {flag.name for flag in found}


SLURM = {
    "SLURM_STEP_NODELIST": "node[08-09],other",
    "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_NTASKS": "3",
    "SLURM_LOCALID": "0",
}


def resolved(monkeypatch, cluster, **environ):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    tf_config.resolve(cluster)
    tf_config.check(os.environ["TF_CONFIG"])
    return json.loads(os.environ["TF_CONFIG"])


@pytest.mark.parametrize("index", [0, 2])
def test_slurm(monkeypatch, index):
    found = resolved(monkeypatch, "slurm", **SLURM, SLURM_PROCID=str(index))
    assert found == {
        "cluster": {"worker": ["node08:2222", "node09:2222", "other:2222"]},
        "task": {"type": "worker", "index": index},
    }
    assert tf_config.writes("multi_worker") == (index == 0)


def test_several_tasks_of_a_node_have_ports_of_their_own(monkeypatch):
    environ = {**SLURM, "SLURM_STEP_NODELIST": "n1", "SLURM_STEP_TASKS_PER_NODE": "2"}
    environ |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}
    found = resolved(monkeypatch, "slurm", **environ, SLURM_PROCID="1")
    assert found["cluster"]["worker"] == ["n1:2222", "n1:2223"]
    assert found["task"]["index"] == 1


def test_a_stateful_set(monkeypatch):
    environ = {"STRUCTVAE_WORKERS": "2", "STRUCTVAE_SERVICE": "workers"}
    found = resolved(monkeypatch, "kubernetes", HOSTNAME="my-run-1", **environ)
    assert found["cluster"]["worker"] == ["my-run-0.workers:2222", "my-run-1.workers:2222"]
    assert found["task"]["index"] == 1


def test_tf_config_stays(monkeypatch):
    text = tf_config.of_worker(["a:1", "b:2"], 1)
    monkeypatch.setenv("TF_CONFIG", text)
    tf_config.resolve("tf_config")
    assert os.environ["TF_CONFIG"] == text


def test_what_is_not_there_is_named(monkeypatch):
    for name in (*SLURM, "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"needs SLURM_STEP_NODELIST.*start bin/train by srun"):
        tf_config.resolve("slurm")
    for host, workers, service in (
        ("run", "2", "s"),
        ("run-2", "2", "s"),
        ("run-0", "x", "s"),
        ("run-0", "2", ""),
    ):
        environ = {"HOSTNAME": host, tf_config.WORKERS: workers, tf_config.SERVICE: service}
        with pytest.raises(ValueError, match=f"needs HOSTNAME as NAME-k.*got '{host}'"):
            tf_config.of_stateful_set(environ)
    with pytest.raises(ValueError, match=r"cluster must be one of .* got 'nomad'"):
        tf_config.resolve("nomad")


def documents(name):
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


def test_the_manifests_of_training_are_valid_and_fit_each_other():
    validate = pytest.importorskip("kubernetes_validate")
    service, workers = documents("train.yaml")
    for manifest in (service, workers):
        validate.validate(manifest, validate.latest_version(), strict=True)
    pod = workers["spec"]["template"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert workers["spec"]["serviceName"] == service["metadata"]["name"]
    container = pod["spec"]["containers"][0]
    environ = {v["name"]: v["value"] for v in container["env"]}
    assert environ == {
        tf_config.WORKERS: str(workers["spec"]["replicas"]),
        tf_config.SERVICE: service["metadata"]["name"],
    }
    host = f"{workers['metadata']['name']}-1"
    found = json.loads(tf_config.of_stateful_set({"HOSTNAME": host, **environ}))
    assert found["cluster"]["worker"][0] == "structvae-0.structvae-workers:2222"
    assert {p["containerPort"] for p in container["ports"]} == {tf_config.PORT}
    known = flags_of("train")
    assert set(re.findall(r"--(\w+)[= ]", container["args"][0])) - {"config"} <= known


def test_the_manifest_of_serving_has_a_valid_pod():
    """Without its schema, which no package has: the pod in it is validated as one."""
    validate = pytest.importorskip("kubernetes_validate")
    (manifest,) = documents("serve.yaml")
    assert manifest["apiVersion"] == "serving.kserve.io/v1beta1"
    assert manifest["kind"] == "InferenceService"
    predictor = dict(manifest["spec"]["predictor"])
    assert predictor.pop("minReplicas") == 1
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": predictor}
    validate.validate(pod, validate.latest_version(), strict=True)
    container = predictor["containers"][0]
    known = flags_of("serve")
    assert {a[2:].partition("=")[0] for a in container["args"]} <= known


def test_the_batch_script_is_a_shell_script_with_known_flags():
    path = CLUSTER / "train.sbatch"
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    text = path.read_text()
    assert set(re.findall(r" --(\w+)[= ]", text.partition("srun")[2])) <= flags_of("train")
    # it runs what it says, with the words of a job's environment
    words = 'srun() { echo "$@"; }; ' + text
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    assert "--distribute=multi_worker --cluster=slurm --resume_if_any" in done.stdout
