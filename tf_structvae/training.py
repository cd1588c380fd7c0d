"""From a config to objects, and from objects to a trained model: the one place that reads one."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae import callbacks, datasets, networks
from tf_structvae import config as config_lib
from tf_structvae.constraints import Constraint
from tf_structvae.datasets import pipeline
from tf_structvae.layers import IndependentNormalHead, LowRankNormalHead
from tf_structvae.vae import StructuredVAE

STRATEGIES = ("none", "mirrored")


def build_strategy(name: str) -> tf.distribute.Strategy:
    """ "none": one device; "mirrored": all devices of this machine, by MirroredStrategy.

    Raises:
      ValueError: an unknown name.
    """
    if name not in STRATEGIES:
        raise ValueError(f"distribute must be one of {STRATEGIES}, got {name!r}.")
    if name == "none":
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def entropy_floor(image_shape: tuple[int, ...], epsilon: float) -> float:
    """Entropy of N(mu, epsilon I), nats per image: what an entropy target cannot go below."""
    return 0.5 * float(np.prod(image_shape)) * float(np.log(2 * np.pi * np.e * epsilon))


def build_constraints(config: ConfigDict, image_shape: tuple[int, ...]) -> list[Constraint]:
    """The constraints of eq. 2.

    Raises:
      ValueError: an entropy target that no P can reach.
    """
    c = config.objective
    options = {"kind": c.kind, "rate": c.rate, "damping": c.damping}
    constraints = []
    if c.kl_target >= 0:
        constraints.append(Constraint("kl", c.kl_target, **options))
    floor = entropy_floor(image_shape, config.model.epsilon)
    target = c.entropy_target if c.entropy_budget is None else floor + c.entropy_budget
    if target is not None:
        if target < floor:
            raise ValueError(
                f"config.objective.entropy_target = {target:.2f} nats cannot be met: images "
                f"{image_shape} with epsilon {config.model.epsilon:g} have at least {floor:.2f}."
            )
        constraints.append(Constraint("entropy", target, **options))
    return constraints


def build_model(config: ConfigDict, image_shape: tuple[int, int, int]) -> StructuredVAE:
    """The model of a config for images [H, W, C], not compiled."""
    m = config.model
    common = {"epsilon": m.epsilon, "noise": m.noise, "mean_initial": m.mean_initial}
    head: keras.layers.Layer
    if m.likelihood == "low_rank":
        head = LowRankNormalHead(
            image_shape[-1],
            m.rank,
            factor_scale=m.factor_scale,
            factor_initial=m.factor_initial,
            name="head",
            **common,
        )
    else:
        head = IndependentNormalHead(image_shape[-1], name="head", **common)
    norm = m.norm
    if norm == "batch" and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        norm = "sync_batch"  # statistics of the global batch, as on one device
    shared = {"norm": norm, "activation": m.activation}
    encoder = networks.residual_encoder(
        image_shape,
        m.latent_dim,
        m.encoder.stem,
        m.encoder.stages,
        m.encoder.hidden or None,
        m.encoder.pool,
        **shared,
    )
    decoder = networks.residual_decoder(
        image_shape,
        m.latent_dim,
        head,
        m.decoder.stages,
        m.decoder.hidden,
        m.decoder.project or None,
        m.decoder.final or None,
        m.decoder.upsample,
        **shared,
    )
    return StructuredVAE(
        encoder,
        decoder,
        build_constraints(config, image_shape),
        samples=config.objective.samples,
        pretrain_steps=config.objective.pretrain_steps,
        pretrain_variance=config.objective.pretrain_variance,
        mixing_rate=config.objective.mixing_rate,
        seed=config.seed,
        name=config.name,
    )


def build_optimizer(config: ConfigDict) -> keras.optimizers.Optimizer:
    """Adam with a linear warm-up and a cosine decay."""
    t = config.train
    rate: float | keras.optimizers.schedules.LearningRateSchedule = t.learning_rate
    if t.final_fraction != 1 or t.warmup_steps:
        rate = keras.optimizers.schedules.CosineDecay(
            0.1 * t.learning_rate if t.warmup_steps else t.learning_rate,
            max(t.steps - t.warmup_steps, 1),
            alpha=min(t.final_fraction * (10 if t.warmup_steps else 1), 1.0),
            warmup_target=t.learning_rate if t.warmup_steps else None,
            warmup_steps=t.warmup_steps,
        )
    return keras.optimizers.Adam(rate)


class Experiment:
    """A config at work in a directory: data, model, checkpoints and logs.

    Files in `workdir`: config.json, checkpoints/, log.csv, tensorboard/, pictures/.
    """

    def __init__(self, config: ConfigDict, workdir: str | Path, distribute: str = "none"):
        """
        Args:
          config: see `tf_structvae.config`.
          workdir: where the run is kept.
          distribute: one of `STRATEGIES`.
        """
        config_lib.validate(config)
        self.config = config
        self.workdir = Path(workdir)
        keras.utils.set_random_seed(config.seed)
        keras.config.set_dtype_policy(config.train.precision)
        self.source = datasets.prepare(*self._data("train"))
        with build_strategy(distribute).scope():
            self.model = build_model(config, self.source.image_shape)
            self.model.compile(build_optimizer(config), jit_compile=config.train.jit)
            self.model.optimizer.build(self.model.trainable_variables)
        self.checkpoints = tf.train.CheckpointManager(
            tf.train.Checkpoint(model=self.model, optimizer=self.model.optimizer),
            str(self.workdir / "checkpoints"),
            max_to_keep=config.train.keep_checkpoints,
        )

    @classmethod
    def load(cls, workdir: str | Path) -> Experiment:
        """The experiment of a work directory, at its newest checkpoint.

        Raises:
          FileNotFoundError: no run there.
        """
        saved = Path(workdir) / "config.json"
        if not saved.exists():
            raise FileNotFoundError(f"workdir {workdir} holds no run: {saved} does not exist.")
        experiment = cls(ConfigDict(json.loads(saved.read_text())), workdir)
        if not experiment.restore():
            raise FileNotFoundError(f"workdir {workdir} holds no checkpoint.")
        return experiment

    def summary(self) -> str:
        """What is about to be trained, in a few lines."""
        c, t = self.config, self.config.train
        parameters = self.model.count_params()
        lines = [
            f"{c.name}: {c.model.likelihood} likelihood, {parameters:,} parameters, "
            f"images {self.source.image_shape}, {self.source.count:,} for training",
            f"{t.steps} steps of batch {t.batch_size}, starting at step {self.step}",
        ]
        lines += [f"{k.name}: target {k.target:g} nats, {k.kind}" for k in self.model.constraints]
        return "\n".join(lines)

    def targets(self, logs: dict[str, float]) -> str:
        """Each constrained quantity of logged values beside its target."""
        if not logs:
            return "nothing was left to train"
        found = [
            f"{k.name} {logs[k.name]:.2f} (target {k.target:g}, {logs[k.name] - k.target:+.2f})"
            for k in self.model.constraints
        ]
        return ", ".join([*found, f"log_prob {logs['log_prob']:.1f}"])

    def _data(self, split: str):
        d = self.config.data
        return d.name, split, d.variant, d.dir or None

    @property
    def step(self) -> int:
        """How many steps the model has been trained."""
        return int(self.model.optimizer.iterations)

    def evaluation_images(self, split: str) -> tf.data.Dataset:
        """Batches of the first `config.evaluation.images` images of a split."""
        examples = datasets.prepare(*self._data(split)).examples
        e = self.config.evaluation
        return pipeline.evaluation_batches(examples.take(e.images), e.batch_size)

    def restore(self) -> bool:
        """Loads the newest checkpoint; False if there is none."""
        return self.checkpoints.restore_or_initialize() is not None

    def start(self, resume: bool) -> None:
        """Takes possession of the work directory.

        Raises:
          ValueError: the directory holds another run, and `resume` is False; or its config differs.
        """
        saved = self.workdir / "config.json"
        resolved = json.loads(self.config.to_json())
        if self.checkpoints.latest_checkpoint and not resume:
            raise ValueError(
                f"workdir {self.workdir} already holds a run at "
                f"{Path(self.checkpoints.latest_checkpoint).name}; "
                "give --resume to go on with it, or another --workdir."
            )
        if resume and saved.exists():
            before = json.loads(saved.read_text())
            changes = differences(before, resolved)
            if changes:
                lines = [f"  {k}: {a!r} -> {b!r}" for k, a, b in changes]
                raise ValueError("\n".join([f"{saved} differs from this config:", *lines]))
        self.workdir.mkdir(parents=True, exist_ok=True)
        saved.write_text(json.dumps(resolved, indent=2) + "\n")
        if resume and not self.restore():
            print(f"No checkpoint in {self.workdir} yet: starting at step 0.")

    def train(self) -> dict[str, float]:
        """Runs the remaining steps and returns the logged values of the last epoch."""
        t = self.config.train
        whole, rest = divmod(t.steps, t.epoch_steps)
        logs: dict[str, float] = {}
        if self.step < whole * t.epoch_steps:
            logs = self._fit(whole, t.epoch_steps)
        if rest and self.step < t.steps:
            logs = self._fit(whole + 1, rest)
        return logs

    def _fit(self, epochs: int, epoch_steps: int) -> dict[str, float]:
        """Trains from the present step to the end of epoch number `epochs`."""
        t = self.config.train
        data = pipeline.training_batches(
            self.source.examples,
            self.source.count,
            t.batch_size,
            t.steps,
            self.config.seed,
            start_step=self.step,
            flip=self.config.data.flip,
        )
        validation = self.evaluation_images("validation")
        history = self.model.fit(
            data,
            initial_epoch=self.step // t.epoch_steps,
            epochs=epochs,
            steps_per_epoch=epoch_steps,
            validation_data=validation,
            callbacks=[
                callbacks.StopOnNonFinite(),
                callbacks.ProgressBar(t.steps, self.step),
                callbacks.CsvLog(self.workdir / "log.csv"),
                callbacks.TensorBoardLog(self.workdir / "tensorboard", validation),
                callbacks.SaveCheckpoint(self.checkpoints),
            ],
            verbose=0,
        ).history
        return {k: float(np.mean(v[-1])) for k, v in history.items()}


def differences(before: dict, after: dict, prefix: str = "") -> list[tuple[str, object, object]]:
    """(path, before, after) of every field in which two nested dicts differ."""
    found: list[tuple[str, object, object]] = []
    for key in sorted({*before, *after}):
        a, b = before.get(key), after.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found
