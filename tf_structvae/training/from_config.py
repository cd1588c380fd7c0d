"""From a config to the objects it describes: head, networks, constraints, model, optimiser."""

from __future__ import annotations

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae import priors
from tf_structvae.layers import (
    IndependentNormalHead,
    LocalLowRankHead,
    LowRankNormalHead,
    NormalHead,
    StockLowRankNormalHead,
)
from tf_structvae.models import networks
from tf_structvae.models.constraints import Constraint
from tf_structvae.models.reachable_targets import check, entropy_floor
from tf_structvae.models.vae import StructuredVAE


def build_constraints(config: ConfigDict, image_shape: tuple[int, ...]) -> list[Constraint]:
    """The constraints of eq. 2.

    Args:
      config: of an experiment.
      image_shape: (H, W, C).

    Raises:
      ValueError: a target that no model can meet.
    """
    c = config.objective

    def constraint(name: str, target: float, start: float | None, multiplier: float = 0.0):
        return Constraint(
            name,
            target,
            c.kind,
            c.rate,
            c.damping,
            initial_multiplier=multiplier,
            initial_target=start,
            ramp_updates=0 if start is None else c.ramp_steps,
        )

    floor = entropy_floor(image_shape, config.model.epsilon)
    kl_target = c.kl_target if c.constrain_kl else None
    target = c.entropy_target if c.entropy_budget is None else floor + c.entropy_budget
    target = target if c.constrain_entropy else None
    fixed = config.model.noise == "fixed"
    check(kl_target, target if fixed else None, image_shape, config.model.epsilon)
    constraints = []
    if kl_target is not None:
        constraints.append(constraint("kl", kl_target, c.kl_start, c.kl_multiplier))
    if target is not None:
        start = None if c.entropy_budget_start is None else floor + c.entropy_budget_start
        constraints.append(constraint("entropy", target, start))
    if c.structured_share is not None:
        constraints.append(
            Constraint(
                "structured_share", c.structured_share, "equality", c.share_rate, c.share_damping
            )
        )
    return constraints


def build_head(config: ConfigDict, channels: int) -> NormalHead:
    """The last layer of the decoder.

    Args:
      config: of an experiment.
      channels: C of the images.
    """
    m = config.model
    common = {
        "epsilon": m.epsilon,
        "noise": m.noise,
        "mean_initial": m.mean_initial,
        "standardize": False,
        "name": "head",
    }
    if m.likelihood == "independent":
        return IndependentNormalHead(channels, **common)
    common |= {"factor_scale": m.factor_scale, "factor_initial": m.factor_initial}
    if m.likelihood == "local_low_rank":
        return LocalLowRankHead(channels, m.rank, m.radius, m.bound, **common)
    kind = LowRankNormalHead if m.likelihood == "low_rank" else StockLowRankNormalHead
    return kind(channels, m.rank, **common)


def build_prior(
    config: ConfigDict, image_shape: tuple[int, int, int], classes: int = 0
) -> priors.Prior:
    """The prior that a model trains with.

    Args:
      config: of an experiment.
      image_shape: (H, W, C).
      classes: K of a conditional model; 0: no labels.
    """
    p, size = config.prior, config.model.latent_dim

    def one(name: str = "prior") -> priors.Prior:
        if p.kind == "normal":
            return priors.Normal(size, name=name)
        if p.kind == "vamp":
            return priors.VampPrior(size, image_shape, p.components, name=name)
        if p.kind == "flow":
            return priors.Flow(size, name=name)
        return priors.StandardNormal(size, name=name)

    if not classes or not p.by_label or p.kind == "standard_normal":
        return one()
    return priors.Conditional([one(f"prior_{k}") for k in range(classes)])


def build_model(
    config: ConfigDict, image_shape: tuple[int, int, int], classes: int = 0
) -> StructuredVAE:
    """The model of a config, not compiled.

    Args:
      config: of an experiment.
      image_shape: (H, W, C).
      classes: K of a conditional model; 0: no labels.
    """
    m = config.model
    head = build_head(config, image_shape[-1])
    norm = m.norm
    if norm == "batch" and tf.distribute.get_strategy().num_replicas_in_sync > 1:
        norm = "sync_batch"  # statistics of the global batch, as on one device
    shared = {"norm": norm, "activation": m.activation, "classes": classes}
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
        mixing_rate=_mixing_rate(config),
        seed=config.seed,
        accumulate=config.train.accumulate,
        classes=classes,
        prior=build_prior(config, image_shape, classes),
        name=config.name,
    )


def _mixing_rate(config: ConfigDict):
    rate, final = config.objective.mixing_rate, config.objective.mixing_final_rate
    if final is None or not rate:
        return rate
    return keras.optimizers.schedules.CosineDecay(rate, config.train.steps, alpha=final / rate)


def build_optimizer(config: ConfigDict) -> keras.optimizers.Optimizer:
    """Adam with a linear warm-up and a cosine decay.

    Args:
      config: of an experiment.
    """
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
