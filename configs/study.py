"""The recipes and the ablations of the stabilisers, small enough to be run with several seeds.

    bin/study --study=recipes       # which parts of a recipe win
    bin/study --study=families      # low rank, local, and both
    bin/study --study=shares        # how much of the variance is in P
    bin/study --study=stability     # Appendix A, Fig. 7: what each stabiliser of section 3.2 does
    bin/train --config configs/study.py:paper    # one of them

32x32 drawn faces, 0.46 M parameters, 1200 steps of batch 32. Results: docs/training.md.
Cost: about 2 minutes a run on one core; a study takes three seeds of each.
"""

from tf_structvae import config

_NO_PRETRAINING = {"objective.pretrain_steps": 0}
_NO_INITIALISATION = {"model.factor_initial": 0.1}
_NO_FIXED_NOISE = {"model.noise": "per_pixel"}
_NO_ENTROPY = {"objective.constrain_entropy": False}
_NOTHING = {**_NO_PRETRAINING, **_NO_INITIALISATION, **_NO_FIXED_NOISE, **_NO_ENTROPY}
_STOCK = {"model.likelihood": "stock_low_rank"}

_CALIBRATED = {
    "calibrated": {},
    "triangular": {"model.factor_scale": "closed_form_triangular"},
    "decayed": {"objective.mixing_rate": 0.05, "objective.mixing_final_rate": 0.005},
    "log_scale": {"model.factor_scale": "log_scale"},
    "kernel": {"model.factor_scale": "kernel"},
    "per_pixel": {"model.noise": "per_pixel"},
    "standard": {"model.likelihood": "independent"},
}
_PAPERS = {
    "paper": {},
    # the closed-form scale in the paper's recipe, with and without the entropy constraint
    "paper_closed_form": {"model.factor_scale": "closed_form"},
    "paper_closed_form_no_entropy": {"model.factor_scale": "closed_form", **_NO_ENTROPY},
}
_WITHOUT = {
    "no_pretraining": _NO_PRETRAINING,
    "no_initialisation": _NO_INITIALISATION,
    "no_fixed_noise": _NO_FIXED_NOISE,
    "no_entropy": _NO_ENTROPY,
    "appendix_a": {**_NO_FIXED_NOISE, **_NO_ENTROPY},  # Fig. 7
    "nothing": _NOTHING,
    # the same on TFP's class, whose float32 arithmetic is not exact
    "paper_stock": _STOCK,
    "no_entropy_stock": {**_NO_ENTROPY, **_STOCK},
    "appendix_a_stock": {**_NO_FIXED_NOISE, **_NO_ENTROPY, **_STOCK},
}
_LOCAL = {"model.likelihood": "local_low_rank", "model.noise": "per_pixel"}
_FAMILIES = {
    "local_alone": {**_LOCAL, "model.rank": 0},
    "low_rank_and_local": _LOCAL,
}
_SHARES = {
    f"share_{s}": {"objective.structured_share": s / 100, "model.factor_scale": "log_scale"}
    for s in (15, 30, 60)
}
VARIANTS = {**_CALIBRATED, **_FAMILIES, **_SHARES, **_PAPERS, **_WITHOUT}
STUDIES = {
    # what stands in the place of D, docs/local.md
    "families": ("calibrated", "per_pixel", *_FAMILIES),
    "recipes": (*_CALIBRATED, *_PAPERS),
    # how much z explains, and how much P
    "shares": ("log_scale", *_SHARES),
    "stability": ("paper", *_WITHOUT),
}


def get_config(variant: str = "calibrated"):
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {variant!r}.")
    c = config.default()
    c.name = variant
    c.data.variant = "32x32"
    if variant in (*_PAPERS, *_WITHOUT):
        config.use_papers_recipe(c, entropy_budget=100.0)
    stages = ((16, 2), (32, 2), (64, 2), (64, 2))
    c.model.encoder.stages = stages
    c.model.decoder.stages = stages
    c.objective.pretrain_steps = 200
    c.train.steps = 1200
    c.export_dir = ""
    c.update_from_flattened_dict(VARIANTS[variant])
    return c
