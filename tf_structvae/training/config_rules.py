"""What the fields of an experiment may be: one table, a row for each rule."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from tf_structvae.training.config_fields import AT_MOST_STEPS

LIKELIHOODS = ("low_rank", "local_low_rank", "independent", "stock_low_rank")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

# The usual ones are known without Keras, so that a wrong value is reported before it is loaded.
_ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "linear")


class Rule(NamedTuple):
    """A value must pass `test(value, config)`; `allowed` says in words what does."""

    path: str
    allowed: str | Callable[[ConfigDict], str]
    test: Callable[[Any, ConfigDict], bool]


def broken(config: ConfigDict) -> list[str]:
    """A line for every rule that a config breaks.

    Args:
      config: with all fields of an experiment and no others.
    """
    lines = []
    for path, allowed, test in RULES:
        value: Any = config
        for part in path.split("."):
            value = value[part]
        try:
            good = test(value, config)
        except TypeError:
            good = False
        if not good:
            words = allowed if isinstance(allowed, str) else allowed(config)
            lines.append(f"config.{path} = {value!r}: must be {words}")
    return lines


def _rules(allowed: str, test: Callable[[Any], bool], *paths: str) -> Iterable[Rule]:
    return [Rule(path, allowed, lambda value, config: test(value)) for path in paths]


def _one_of(path: str, *names: str) -> Iterable[Rule]:
    return _rules(f"one of {', '.join(names)}", lambda v: v in names, path)


def _is_activation(name: object) -> bool:
    if name in _ACTIVATIONS:
        return True
    import keras

    try:
        return isinstance(name, str) and callable(keras.activations.get(name))
    except ValueError:
        return False


def _is_stages(stages: Any) -> bool:
    return len(stages) > 0 and all(
        len(s) == 2 and all(isinstance(n, int) and n > 0 for n in s) for s in stages
    )


def _is_size(value: Any) -> bool:
    return math.isfinite(value) and value >= 0


def _has_ramp(config: ConfigDict) -> bool:
    o = config.objective
    return {o.kl_start, o.entropy_budget_start} != {None}


RULES: list[Rule] = [
    *_rules(
        "letters, digits, '_', '-' or '.'",
        lambda v: bool(re.fullmatch(r"[A-Za-z0-9_][\w.-]*", v)),
        "name",
    ),
    *_rules("'' or the name of a class attribute", lambda v: isinstance(v, str), "data.label"),
    *_one_of("model.likelihood", *LIKELIHOODS),
    *_rules("a number between 0 and 1", lambda v: 0 < v < 1, "model.bound"),
    *_one_of("model.noise", "fixed", "learned", "per_channel", "per_pixel"),
    *_one_of("model.factor_scale", "kernel", "log_scale", "closed_form", "closed_form_triangular"),
    *_one_of("model.norm", "batch", "sync_batch", "group", "none"),
    *_one_of("model.encoder.pool", "flatten", "max", "mean"),
    *_one_of("model.decoder.upsample", "nearest", "bilinear", "transposed"),
    *_one_of("prior.kind", "standard_normal", "normal", "vamp", "flow"),
    *_one_of("prior.fitted", "none", "normal", "mixture", "vamp", "flow"),
    *_one_of("objective.kind", "equality", "clamped_equality", "upper_bound"),
    *_one_of("train.precision", *PRECISIONS),
    *_rules(
        "a tuple of (filters, stride) pairs",
        _is_stages,
        "model.encoder.stages",
        "model.decoder.stages",
    ),
    *_rules("the name of a Keras activation", _is_activation, "model.activation"),
    *_rules(
        "True or False",
        lambda v: isinstance(v, bool),
        "data.strict",
        "data.flip",
        "objective.constrain_kl",
        "objective.constrain_entropy",
        "prior.by_label",
        "train.jit",
    ),
    *_rules(
        "a positive integer",
        lambda v: type(v) is int and v > 0,
        "model.latent_dim",
        "model.encoder.stem",
        "model.decoder.hidden",
        "objective.samples",
        "prior.components",
        "train.steps",
        "train.epoch_steps",
        "train.batch_size",
        "train.accumulate",
        "train.keep_checkpoints",
        "evaluation.batch_size",
        "evaluation.images",
    ),
    *_rules(
        "an integer >= 0",
        lambda v: type(v) is int and v >= 0,
        "seed",
        "data.limit",
        "data.shift",
        "model.radius",
        "model.rank",
        "model.encoder.hidden",
        "model.decoder.project",
        "model.decoder.final",
        "objective.pretrain_steps",
        "train.warmup_steps",
    ),
    *_rules(
        "a finite number > 0",
        lambda v: math.isfinite(v) and v > 0,
        "model.epsilon",
        "model.factor_initial",
        "objective.pretrain_variance",
        "train.learning_rate",
    ),
    *_rules(
        "a finite number >= 0",
        _is_size,
        "objective.rate",
        "objective.damping",
        "objective.share_rate",
        "objective.share_damping",
        "objective.mixing_rate",
        "objective.kl_multiplier",
    ),
    *_rules(
        "None or a finite number >= 0",
        lambda v: v is None or _is_size(v),
        "objective.kl_target",
        "objective.kl_start",
        "objective.entropy_budget",
        "objective.entropy_budget_start",
        "objective.mixing_final_rate",
    ),
    *_rules(
        "None or a finite number",
        lambda v: v is None or math.isfinite(v),
        "objective.entropy_target",
    ),
    *_rules(
        "None or a number in (0, 1)",
        lambda v: v is None or 0 < v < 1,
        "objective.structured_share",
    ),
    *_rules("a finite number", math.isfinite, "model.mean_initial"),
    *_rules("a number in (0, 1]", lambda v: 0 < v <= 1, "train.final_fraction"),
    # what depends on other fields
    Rule(
        "model.rank",
        "a positive integer where model.likelihood is not local_low_rank",
        lambda v, c: v != 0 or c.model.likelihood == "local_low_rank",
    ),
    Rule(
        "prior.by_label",
        "False without data.label",
        lambda v, c: not v or bool(c.data.label),
    ),
    Rule(
        "prior.by_label",
        "True for a VampPrior of a conditional model, whose encoder takes labels",
        lambda v, c: v or not c.data.label or "vamp" not in (c.prior.kind, c.prior.fitted),
    ),
    Rule(
        "model.latent_dim",
        "at least 2 for a flow",
        lambda v, c: v > 1 or "flow" not in (c.prior.kind, c.prior.fitted),
    ),
    Rule(
        "train.accumulate",
        lambda c: f"at most train.batch_size = {c.train.batch_size}, one part an image",
        lambda v, c: v <= c.train.batch_size,
    ),
    *(
        Rule(
            f"{part}.{name}",
            lambda c: f"at most config.train.steps = {c.train.steps}",
            lambda v, c: v <= c.train.steps or not c.train.steps > 0,  # which breaks its own rule
        )
        for part, name in AT_MOST_STEPS
    ),
    Rule(
        "objective.ramp_steps",
        "a positive integer where a target has a start, 0 elsewhere",
        lambda v, c: isinstance(v, int) and (v > 0 if _has_ramp(c) else v == 0),
    ),
    Rule(
        "model.likelihood",
        "low_rank where factor_scale is closed_form: it needs the noise posterior",
        lambda v, c: v != "stock_low_rank" or not c.model.factor_scale.startswith("closed_form"),
    ),
    *(
        Rule(
            f"objective.{name}",
            "None for an independent likelihood",
            lambda v, c: v is None or c.model.likelihood != "independent",
        )
        for name in ("entropy_budget", "entropy_target")
    ),
    Rule(
        "objective.structured_share",
        "None where model.factor_scale is closed_form: the two would pull P apart",
        lambda v, c: v is None or not c.model.factor_scale.startswith("closed_form"),
    ),
    Rule(
        "objective.structured_share",
        "None for a likelihood without a factor of the package's own",
        lambda v, c: (
            v is None or (c.model.likelihood in ("low_rank", "local_low_rank") and c.model.rank > 0)
        ),
    ),
    Rule(
        "objective.entropy_target",
        "None beside objective.entropy_budget",
        lambda v, c: v is None or c.objective.entropy_budget is None,
    ),
]
