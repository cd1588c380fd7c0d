"""From a config and a directory to a trained model."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae import datasets, priors
from tf_structvae.datasets import augment, pipeline
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.training import (
    callbacks,
    cluster,
    fitted_prior,
    preemption,
    prior_start,
    workdir,
)
from tf_structvae.training import config as config_lib
from tf_structvae.training.checkpoints import Checkpoints
from tf_structvae.training.from_config import build_model, build_optimizer
from tf_structvae.utilities import provenance
from tf_structvae.utilities.files import write_whole


class Experiment:
    """A config at work in a directory: data, model, checkpoints and logs.

    Files in `workdir`: config.json, provenance.json, checkpoints/, log.csv, samples.png,
    prior/, tensorboard/, pictures/, scores.json.
    """

    def __init__(self, config: ConfigDict, directory: str | Path, distribute: str = "none"):
        """
        Args:
          config: see `tf_structvae.training.config`.
          directory: where the run is kept, `workdir`.
          distribute: one of `cluster.STRATEGIES`.

        Raises:
          ValueError: an impossible config, fewer images in a batch than replicas, or workers that
            differ in their commit, versions or config.
        """
        config_lib.validate(config)
        self.strategy = cluster.build_strategy(distribute)  # before TensorFlow does anything else
        self.config = config
        self.workdir = Path(directory)
        if config.train.batch_size < self.strategy.num_replicas_in_sync:
            raise ValueError(
                f"config.train.batch_size = {config.train.batch_size} is less than one image for "
                f"each of {self.strategy.num_replicas_in_sync} replicas."
            )
        keras.config.set_dtype_policy(config.train.precision)
        cluster.check_same(self.strategy, lambda: workdir.fingerprint(config))
        with cluster.chief_first(self.strategy):
            self.source = self._source("train")
        self.class_names = self.source.info.class_names(config.data.label)
        if fitted := fitted_prior.Settings.of_config(config):
            fitted.check(config.model.latent_dim, self.source.count, self._labels)
        keras.utils.set_random_seed(config.seed)  # after TFDS, which draws names from `random`
        with self.strategy.scope():
            self.model = build_model(config, self.source.image_shape, len(self.class_names))
            self.model.compile(build_optimizer(config), jit_compile=config.train.jit)
            self.model.optimizer.build(self.model.trainable_variables)
            prior_start.start(self.model, self._training_pass)
        self.checkpoints = Checkpoints(
            self.workdir / "checkpoints", self.model, config.train.keep_checkpoints
        )

    @classmethod
    def load(cls, directory: str | Path, checkpoint: str = "last") -> Experiment:
        """The experiment of a work directory, to be evaluated, exported or drawn.

        A checkpoint of an earlier version may hold no state of constraints. It can be loaded, with
        a line that says so, since the model itself is whole.

        Args:
          directory: the `workdir` of a run.
          checkpoint: "last", or "best": the one with the highest ELBO on the validation split.

        Raises:
          FileNotFoundError: no run there.
          ValueError: its config cannot be used, or `checkpoint` is neither.
        """
        config = workdir.read_config(directory)
        if checkpoint not in ("last", "best"):
            raise ValueError(f"checkpoint must be 'last' or 'best', got {checkpoint!r}.")
        experiment = cls(config, directory)
        if experiment.checkpoints.restore(checkpoint, allow_missing=True) is None:
            raise FileNotFoundError(f"workdir {directory} holds no {checkpoint} checkpoint.")
        experiment.take_fitted_prior(checkpoint)
        return experiment

    def prior_file(self, checkpoint: str = "last") -> Path:
        """Where the prior that was fitted to a checkpoint is kept.

        Args:
          checkpoint: "last" or "best".
        """
        return self.workdir / "prior" / f"{checkpoint}.npz"

    def take_fitted_prior(self, checkpoint: str = "last") -> bool:
        """Puts the prior that was fitted to a checkpoint into the model, if there is one.

        Args:
          checkpoint: "last" or "best".

        Returns:
          Whether there was one; of another step, a line says that it is left out.

        Raises:
          ValueError: its file is damaged.
        """
        path = self.prior_file(checkpoint)
        found = fitted_prior.load(path)
        if found is None:
            return False
        prior, about = found
        if about["step"] != self.step:
            print(
                f"{path} was fitted at step {about['step']}, not at {self.step}: it is left out, "
                "and bin/fit_prior makes it anew."
            )
            return False
        self.model.replace_prior(prior)
        return True

    def fit_prior(
        self,
        settings: fitted_prior.Settings | None = None,
        checkpoint: str = "last",
        progress: bool = True,
    ) -> None:
        """Fits a prior to the posteriors of the training images and puts it into model and workdir.

        Training does not take it up: a resumed run goes on with the prior that it trained with.

        Args:
          settings: which; None: that of the config.
          checkpoint: that the model was loaded from, beside which it is kept.
          progress: whether bars are shown.

        Raises:
          ValueError: the config names none, or there are too few images for it.
        """
        settings = settings or fitted_prior.Settings.of_config(self.config)
        if settings is None:
            raise ValueError("config.prior.fitted is 'none', so the kind of prior must be given.")
        found = self.fitted_prior(settings, progress)
        about = {"step": self.step, **dataclasses.asdict(settings)}
        fitted_prior.save(self.prior_file(checkpoint), found, about)
        self.model.replace_prior(found)

    def fitted_prior(self, settings: fitted_prior.Settings, progress: bool = True) -> priors.Prior:
        """A prior fitted to the posteriors of the training images; the model keeps its own.

        Args:
          settings: which.
          progress: whether bars are shown.

        Raises:
          ValueError: too few images.
        """
        settings.check(self.model.latent_dim, self.source.count, self._labels)
        images = self.source.take(fitted_prior.MOST_IMAGES)
        return fitted_prior.fit(self.model, self.batches(images), images.count, settings, progress)

    def _labels(self) -> np.ndarray:
        """Of the training images."""
        return pipeline.labels(self.source, self.config.data.label)

    def _training_pass(self) -> tf.data.Dataset:
        return self.batches(self.source)

    def summary(self) -> str:
        """What is about to be trained, in a few lines."""
        c, t = self.config, self.config.train
        parameters = self.model.count_params()
        lines = [
            f"{c.name}: {c.model.likelihood} likelihood, {parameters:,} parameters, "
            f"images {self.source.image_shape}, {self.source.count:,} for training",
            f"{t.steps} steps of batch {t.batch_size}, starting at step {self.step}",
        ]
        if self.class_names:
            shown = ", ".join(self.class_names[:12]) + (", ..." if self.model.classes > 12 else "")
            lines.append(f"given {c.data.label}, {self.model.classes} classes: {shown}")
        exact = self.model.prior.has_exact_kl
        how = "exact" if exact else f"estimated from {self.model.samples} sample(s) of z"
        lines.append(f"prior: {self.model.prior.describe()}, KL divergence {how}")
        lines += [f"{k.name}: target {k.target:g} nats, {k.kind}" for k in self.model.constraints]
        return "\n".join(lines)

    def targets(self, logs: dict[str, float]) -> str:
        """Each constrained quantity of logged values beside its target.

        Args:
          logs: as `train` returns them.
        """
        if not logs:
            return "nothing was left to train"
        found = [
            f"{k.name} {logs[k.name]:.2f} (target {k.target:g}, {logs[k.name] - k.target:+.2f})"
            for k in self.model.constraints
        ]
        return ", ".join([*found, f"log_prob {logs['log_prob']:.1f}"])

    def _source(self, split: str) -> datasets.Source:
        return datasets.prepare(datasets.Spec.of_config(self.config.data), split)

    @property
    def exact_model(self) -> StructuredVAE:
        """The model; that of TFP's class, which serves comparison, is rewritten with ours."""
        if self.config.model.likelihood != "stock_low_rank":
            return self.model
        config = self.config.copy_and_resolve_references()
        config.model.likelihood = "low_rank"
        exact = build_model(config, self.source.image_shape, self.model.classes)
        exact.replace_prior(fitted_prior.copy(self.model.prior))
        exact.set_weights(self.model.get_weights())
        return exact

    @property
    def is_chief(self) -> bool:
        """Whether this process writes: always, but for workers other than the first."""
        return cluster.is_chief(self.strategy)

    @property
    def step(self) -> int:
        """How many steps the model has been trained."""
        return int(self.model.steps.numpy())

    def evaluation_images(self, split: str) -> tf.data.Dataset:
        """Batches of the first `config.evaluation.images` images of a split, without labels.

        Args:
          split: "validation" or "test".
        """
        e = self.config.evaluation
        return pipeline.evaluation_batches(self._source(split).take(e.images), e.batch_size)

    def evaluation_batches(self, split: str, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """As `evaluation_images`, but what the model takes: of a conditional (images, labels).

        Args:
          split: "validation" or "test".
          shard: (index, count) of a worker.
        """
        return self.batches(self._source(split).take(self.config.evaluation.images), shard)

    def batches(self, source: datasets.Source, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """One ordered pass over a source, as the model takes it.

        Args:
          source: a split.
          shard: (index, count) of a worker.
        """
        c = self.config
        return pipeline.evaluation_batches(
            source, c.evaluation.batch_size, shard, label=c.data.label
        )

    @functools.cached_property
    def label_frequencies(self) -> np.ndarray:
        """The share of each class among the training images, [K]."""
        found = self._labels()
        counts = np.bincount(found, minlength=self.model.classes)
        return counts / counts.sum()

    def draw_labels(self, count: int, seed: int) -> tuple[tf.Tensor, ...]:
        """Labels [count] as frequent as in the training data, the last argument of `decode`.

        A draw from the prior of a conditional model is one of y from the data and of z given y.

        Args:
          count: of labels.
          seed: of the draw.

        Returns:
          (labels,), the same for the same seed and the first ones of more; () without labels.
        """
        if not self.class_names:
            return ()
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
        found = rng.choice(self.model.classes, count, p=self.label_frequencies)
        return (tf.constant(found, tf.int32),)

    def training_batches(self, shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        """Batches, as the model takes them, from the present step to the last.

        Args:
          shard: (index, count) of a worker.
        """
        t, d = self.config.train, self.config.data
        return pipeline.training_batches(
            self.source,
            t.batch_size,
            t.steps,
            self.config.seed,
            start_step=self.step,
            augment=augment.chain(d.flip, d.shift),
            shard=shard,
            label=d.label,
        )

    def start(self, resume: bool = False, allow_changes: bool = False) -> None:
        """Takes possession of the work directory; see `workdir.check`.

        Args:
          resume: whether to go on with what is there.
          allow_changes: whether the config may then differ, and constraints start anew that the
            checkpoint does not hold.

        Raises:
          ValueError: the workers do not share the directory, or the checkpoint lacks variables.
        """
        workdir.check(self.workdir, self.config, resume, allow_changes)
        found = self.checkpoints.restore(allow_missing=allow_changes) if resume else None
        steps = cluster.gather(self.strategy, self.step)
        if len(set(steps)) > 1:
            raise ValueError(
                f"the workers would start at different steps, {steps}: "
                f"workdir {self.workdir} must be one directory that all of them see."
            )
        if not self.is_chief:
            return
        workdir.write_config(self.workdir, self.config)
        provenance.record(self.workdir / "provenance.json", self.step)
        if resume and found is None:
            print(f"No checkpoint in {self.workdir} yet: starting at step 0.")

    def _batch(self, step: int) -> str:
        """Which images the batch of a step holds."""
        t = self.config.train
        indices = pipeline.batch_indices(self.source, t.batch_size, step, self.config.seed)
        return f"images {', '.join(map(str, indices))} of the training split"

    def train(self) -> dict[str, float]:
        """Runs the remaining steps; SIGTERM ends the process with a checkpoint, see `preemption`.

        Returns:
          The logged values of the last epoch. Of one in which the run was stopped, those are means
          over the steps since then.

        Raises:
          FloatingPointError: the loss or a weight is no longer finite; the work directory's
            `workdir.FAILURE` says where, until the run goes on.
        """
        failure = self.workdir / workdir.FAILURE
        if self.is_chief:
            failure.unlink(missing_ok=True)
        try:
            return self._train()
        except FloatingPointError as error:
            if self.is_chief:
                write_whole(failure, f"{error}\n")
            raise

    def _train(self) -> dict[str, float]:
        t = self.config.train
        logs: dict[str, float] = {}
        with preemption.watched(self.strategy, self._save_in_epoch) as watching:
            begun = self.step % t.epoch_steps
            if begun and self.step < t.steps:  # the rest of an epoch in which the run was stopped
                steps = min(t.epoch_steps - begun, t.steps - self.step)
                logs = self._fit(1, steps, watching)
            if whole := (t.steps - self.step) // t.epoch_steps:
                logs = self._fit(whole, t.epoch_steps, watching)
            if rest := t.steps - self.step:
                logs = self._fit(1, rest, watching)
        return logs

    def _save_in_epoch(self) -> None:
        self.checkpoints.save(self.step)
        print(
            f"\nStopped by SIGTERM at step {self.step}, of which {self.checkpoints.directory} has "
            "a checkpoint; --resume goes on from there."
        )

    def _fit(
        self, epochs: int, epoch_steps: int, watching: list[keras.callbacks.Callback]
    ) -> dict[str, float]:
        """Trains `epochs` epochs from the present step."""
        t, e = self.config.train, self.config.evaluation
        validation = self.evaluation_batches("validation")
        first = self.step // t.epoch_steps
        used: list[keras.callbacks.Callback] = [callbacks.StopOnNonFinite(self._batch), *watching]
        if self.is_chief:
            used += [
                callbacks.ProgressBar(t.steps, self.step),
                callbacks.CalibrationLog(validation.take(-(-256 // e.batch_size))),
                callbacks.InformationLog(validation),
                callbacks.CsvLog(self.workdir / "log.csv"),
                callbacks.SampleSheet(self.workdir / "samples.png", validation),
                callbacks.TensorBoardLog(self.workdir / "tensorboard", validation),
                callbacks.SaveCheckpoint(self.checkpoints),
            ]
        history = self.model.fit(
            cluster.distribute(self.strategy, self.training_batches),
            initial_epoch=first,
            epochs=first + epochs,
            steps_per_epoch=epoch_steps,
            validation_data=cluster.distribute(
                self.strategy, lambda shard: self.evaluation_batches("validation", shard)
            ),
            callbacks=used,
            shuffle=False,  # the batches are
            verbose=0,
        ).history
        return {k: float(np.mean(v[-1])) for k, v in history.items()}
