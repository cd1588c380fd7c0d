"""The fields of an experiment, their defaults, and what values they may take."""

from __future__ import annotations

from ml_collections import ConfigDict, config_dict

from tf_structvae.datasets import Spec, spec
from tf_structvae.training import config_fields, config_rules, run_name

LIKELIHOODS, PRECISIONS = config_rules.LIKELIHOODS, config_rules.PRECISIONS


def default() -> ConfigDict:
    """The calibrated recipe on `avatars` at 64x64.

    Examples:
      >>> import tf_structvae as sv
      >>> config = sv.config.default()
      >>> config.model.rank = 50
      >>> sv.config.validate(config)
    """
    config = ConfigDict(
        {
            "seed": 0,
            "data": {
                "name": "avatars",
                "variant": "",  # such as "64x64"; "": what suits image_size, or the first
                "dir": "",  # of the prepared records, local or gs://...; "": the default of TFDS
                "manual_dir": "",  # of the user's own files, for celeb_a, ukbb and image_folder
                "image_size": (),  # (height, width); (): as stored
                "fit": "crop",  # crop | pad | stretch: how another size gets there
                "channels": 0,  # 1 or 3; 0: as stored
                "strict": False,  # one bad file is an error
                "limit": 0,  # train on the first so many images; 0: all
                "label": "",  # the class attribute of a conditional model; "": unconditional
                "flip": False,  # mirror half of the training images
                "shift": 0,  # move training images by up to so many pixels
                "background": "white",  # of image_folder: "#rrggbb" or a name, behind transparency
                "nifti": dict(spec.NIFTI),  # of ukbb, docs/ukbb.md
            },
            "model": {
                # independent: the standard VAE; stock_low_rank: by TFP; local_low_rank: `use_local`
                "likelihood": "low_rank",
                "latent_dim": 64,
                "rank": 25,
                "radius": 1,  # of the neighbourhood of a local_low_rank likelihood
                "bound": 0.95,  # of the sum of its weights, see `LocalLowRankHead`
                "noise": "learned",  # fixed | learned | per_channel | per_pixel
                "epsilon": 0.01,  # the noise variance, or where it starts
                "factor_scale": "closed_form",  # see `LowRankNormalHead`
                "factor_initial": 0.005,
                "mean_initial": 0.5,
                "encoder": {
                    "stem": 16,
                    "stages": ((32, 2), (64, 2), (128, 2), (128, 2)),
                    "hidden": 0,
                    "pool": "flatten",
                },
                "decoder": {
                    "stages": ((32, 2), (64, 2), (128, 2), (128, 2)),
                    "hidden": 128,
                    "project": 0,  # filters of the projection of z, if not `hidden`
                    "final": 0,
                    "upsample": "bilinear",
                },
                "norm": "batch",
                "activation": "relu",
            },
            "prior": {
                "kind": "standard_normal",  # of training: standard_normal | normal | vamp | flow
                # takes its place after training: none | normal | mixture | vamp | flow
                "fitted": "mixture",
                "components": 50,  # of a mixture or VampPrior
                "by_label": False,  # a prior for each label of a conditional model
            },
            "objective": {
                "samples": 1,  # M of eq. 2
                # False leaves a constraint out whatever its target; KL then has weight one (eq. 1)
                "constrain_kl": True,
                "constrain_entropy": True,
                "kl_target": 45.0,  # nats per image
                # at most one of the two, nats per image: above the entropy of D, or absolute
                "entropy_budget": config_dict.placeholder(float),
                "entropy_target": config_dict.placeholder(float),
                "kind": "clamped_equality",
                "rate": 0.2,
                "damping": 5.0,
                # a warm start: the targets move from these within `ramp_steps`
                "kl_start": config_dict.placeholder(float),
                "entropy_budget_start": config_dict.placeholder(float),
                "ramp_steps": 0,
                "kl_multiplier": 0.0,  # where the multiplier starts
                # tr(P P^T) over the data's total variance, in (0, 1); None: as the likelihood wants
                "structured_share": config_dict.placeholder(float),
                "share_rate": 20.0,  # of its multiplier, which is in nats per whole share
                "share_damping": 2000.0,
                "pretrain_steps": 300,
                "pretrain_variance": 0.01,
                "mixing_rate": 0.02,  # of the closed-form scale
                # after a cosine; None: the rate stays
                "mixing_final_rate": config_dict.placeholder(float),
            },
            "train": {
                "steps": 1800,
                "epoch_steps": 200,  # between evaluations, pictures and checkpoints
                "batch_size": 32,
                "accumulate": 1,  # parts of a batch, one after the other: less memory, same step
                "learning_rate": 1.5e-3,
                "warmup_steps": 100,
                "final_fraction": 0.05,  # of the learning rate, after a cosine; 1 keeps it constant
                "precision": "float32",
                "jit": False,
                "keep_checkpoints": 3,
            },
            "evaluation": {"batch_size": 50, "images": 1000},
            "export_dir": "saved_models",  # "" exports nothing
        }
    )
    config.name = run_name.reference(config.data)  # that of the data, if not set
    return config


def use_papers_recipe(c: ConfigDict, entropy_budget: float | None = None) -> ConfigDict:
    """Turns a config to D = 1e-5 I, the prior N(0, I) and constraints as the authors'.

    Network and steps stay.

    The authors sum over a batch of 25 with rate 1 and damping 10: per image, 25 and 250.

    Args:
      c: a config, which is changed.
      entropy_budget: nats per image above the entropy of D; None constrains no entropy.

    Returns:
      The same config.
    """
    c.prior.kind, c.prior.fitted = "standard_normal", "none"
    c.model.noise = "fixed"
    c.model.epsilon = 1e-5
    c.model.factor_scale = "kernel"
    c.model.factor_initial = 1e-5
    c.objective.kind = "clamped_equality"
    c.objective.entropy_budget = entropy_budget
    c.objective.rate = 25.0
    c.objective.damping = 250.0
    return c


def has_factor(config: ConfigDict) -> bool:
    """Whether p(x | z) has a factor P; that of the standard VAE and of a local normal alone do not.

    Args:
      config: of an experiment.
    """
    return config.model.likelihood != "independent" and config.model.rank > 0


def is_local(config: ConfigDict) -> bool:
    """Whether p(x | z) has a local precision in the place of D.

    Args:
      config: of an experiment.
    """
    return config.model.likelihood == "local_low_rank"


def use_local(c: ConfigDict, rank: int | None = None, radius: int = 1) -> ConfigDict:
    """Turns a config to a low-rank and local normal, with noise of each pixel.

    Args:
      c: a config, which is changed.
      rank: R, 0 for none; None: that of the config.
      radius: of the neighbourhood.

    Returns:
      The same config.
    """
    c.model.likelihood = "local_low_rank"
    c.model.noise = "per_pixel"
    c.model.radius = radius
    if rank is not None:
        c.model.rank = rank
    return c


def paper(kl_target: float, entropy_target: float) -> ConfigDict:
    """The paper's settings (4.1, Appendix A), the authors' constants, a network after theirs.

    Args:
      kl_target: nats per image.
      entropy_target: nats per image, absolute.
    """
    c = use_papers_recipe(default())
    stages = ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1))
    # mirrored: a stage that halves the size doubles the filters, one that doubles it halves them
    mirrored = ((64, 1), (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1))
    c.model.latent_dim = 128
    c.model.encoder.update({"stem": 64, "stages": stages, "hidden": 512, "pool": "max"})
    c.model.decoder.update(
        {"stages": mirrored, "hidden": 512, "project": 128, "upsample": "transposed"}
    )
    c.objective.kl_target = kl_target
    c.objective.entropy_target = entropy_target
    c.objective.pretrain_steps = 4_000
    c.train.batch_size = 25
    c.train.steps = 40_000
    c.train.epoch_steps = 400
    c.train.learning_rate = 1e-4
    c.train.warmup_steps = 0
    c.train.final_fraction = 1.0
    c.evaluation.batch_size = 10
    return c


def validate(config: ConfigDict) -> None:
    """Raises one ValueError that lists every impossible value of an experiment.

    Args:
      config: of an experiment.
    """
    if not isinstance(config, ConfigDict):
        raise ValueError(f"config must be a ConfigDict, as get_config() returns, got {config!r}.")
    wrong = config_fields.differences(config, default())
    if wrong:
        raise ValueError("\n".join(["this experiment cannot be run:", *wrong]))

    try:
        Spec.of_config(config.data)
    except (TypeError, ValueError) as error:
        wrong.append(f"config.data: {error}")
    wrong += config_rules.broken(config)
    if wrong:
        raise ValueError("\n".join(["this experiment cannot be run:", *wrong]))
