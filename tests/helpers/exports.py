"""Tiny exported models, requests for all of their signatures, and runs of these by name."""

import atexit
import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import conditional
import keras
import numpy as np
import small_vae

from tf_structvae import StructuredVAE
from tf_structvae.export import export, signatures
from tf_structvae.layers import IndependentNormalHead, LocalLowRankHead, LowRankNormalHead

KINDS = ("low_rank", "grey", "standard")
NEEDS_FACTOR = {"manipulate", "components"}
NAMES = {
    "sample", "decode", "encode", "reconstruct", "manipulate", "components", "covariance_row",
    "condition", "condition_sample", "log_prob",
}  # fmt: skip


def build(kind):
    """low_rank: 6x5x2, D learned; grey: 4x7x1, D per pixel, rank 2; standard and conditional:
    6x5x2."""
    if kind == "low_rank":
        return small_vae.make()
    if kind == "conditional":
        return conditional.make()
    if kind in ("local", "dorta"):
        return build_local(3 if kind == "local" else 0)
    if kind == "standard":
        return small_vae.make(
            IndependentNormalHead(2, epsilon=0.05, noise="fixed", mean_initial=0.5)
        )
    keras.utils.set_random_seed(1)
    shape = (4, 7, 1)
    encoder = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(8, "tanh")]
    )
    head = LowRankNormalHead(
        1,
        rank=2,
        epsilon=0.03,
        noise="per_pixel",
        factor_initial=0.2,
        mean_initial=0.5,
        factor_scale="kernel",
    )
    head.build((None, 4, 7, 3))
    head.noise_kernel.assign(0.3 * np.random.default_rng(0).normal(size=head.noise_kernel.shape))
    decoder = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(4 * 7 * 3, "tanh"),
            keras.layers.Reshape((4, 7, 3)),
            head,
        ]
    )
    return StructuredVAE(encoder, decoder)


def build_local(rank):
    """6x5x2, low rank and local, with weights of the local part that are not zero."""
    model = small_vae.make(
        LocalLowRankHead(
            2,
            rank,
            epsilon=0.03,
            factor_scale="kernel",
            factor_initial=0.2,
            mean_initial=0.5,
            standardize=False,
        )
    )
    rng, head = np.random.default_rng(0), model.head
    for w in (head.noise_kernel, head.neighbour_kernel, head.neighbour_bias, head.channel_kernel):
        w.assign(0.3 * rng.normal(size=w.shape))
    return model


@functools.cache
def exported(kind):
    """(model, path of its version 1), once a process."""
    folder = tempfile.mkdtemp(prefix="exports-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    model = build(kind)
    return model, export(model, Path(folder) / kind)


@functools.cache
def requests(kind, batch=3, seed=0):
    """{signature: {input: array}} of `batch` rows."""
    model = exported(kind)[0]
    rng = np.random.default_rng(seed)
    h, w, c = model.image_shape
    rank = getattr(model.head, "rank", 0)
    known = {
        "seeds": rng.integers(-(2**31), 2**31, (batch, 2)).astype(np.int32),
        "images": rng.uniform(size=(batch, h, w, c)),
        "latents": rng.normal(size=(batch, model.latent_dim)),
        "factor_noise": rng.normal(size=(batch, rank)),
        "component_scales": rng.normal(size=(batch, rank)),
        "pixel": np.stack([rng.integers(0, h, batch), rng.integers(0, w, batch)], 1),
        "values": rng.uniform(size=(batch, h, w, c)),
        "mask": rng.uniform(size=(batch, h, w, 1)) < 0.3,
        "noise_variance": np.resize([0.0, 0.2, 0.01], batch),
        "labels": rng.integers(0, max(model.classes, 1), batch),
    }
    arrays = {
        k: v.astype(np.int32 if k in ("seeds", "pixel", "labels") else np.float32)
        for k, v in known.items()
    }
    return {
        name: {k: arrays[k] for k in signature.inputs}
        for name, signature in signatures(model).items()
    }


def run_c_api(path, cases, folder):
    """[(signature, inputs), ...] by the C API; for each its outputs, or the text of its error."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    known = saved.meta_graphs[0].signature_def
    arrays, script = {}, []
    for i, (name, inputs) in enumerate(cases):
        arrays |= {f"{i}/{k}": v for k, v in inputs.items()}
        ends = known[name].inputs
        script.append(
            {
                "inputs": {ends[k].name: f"{i}/{k}" for k in inputs},
                "outputs": [t.name for t in known[name].outputs.values()],
            }
        )
    files = [folder / n for n in ("cases.json", "arrays.npz", "found.npz")]
    files[0].write_text(json.dumps(script))
    np.savez(files[1], **arrays)
    runner = Path(__file__).with_name("c_api.py")
    run = subprocess.run(
        [sys.executable, str(runner), str(path), *map(str, files)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = np.load(files[2])
    return [
        str(found[f"{i}/error"])
        if f"{i}/error" in found
        else {k: found[f"{i}/{t.name}"] for k, t in known[name].outputs.items()}
        for i, (name, _) in enumerate(cases)
    ]


@functools.cache
def loaded(kind):
    """An exported model, in Python."""
    import tensorflow as tf

    return tf.saved_model.load(str(exported(kind)[1]))
