"""Everything once, on a few pictures of 16x16: is the installation whole?

    bin/train --config configs/smoke.py

Expected: a model and pictures that show nothing.
Cost: half a minute on 2 cores.
"""

from tf_structvae import config


def get_config():
    c = config.default()
    c.name = "smoke"
    c.data.variant = "16x16_tiny"
    c.model.latent_dim = 4
    c.model.rank = 3
    c.prior.components = 4
    c.model.encoder.stem = 4
    c.model.encoder.stages = ((4, 2), (8, 2))
    c.model.decoder.stages = ((4, 2), (8, 2))
    c.model.decoder.hidden = 8
    # below what a new model has: the constraint binds from the first step
    c.objective.kl_target, c.objective.kl_start = 0.05, 0.02
    c.objective.ramp_steps = 20
    c.objective.pretrain_steps = 2
    c.train.steps = 6
    c.train.epoch_steps = 3
    c.train.warmup_steps = 0
    c.train.batch_size = 16
    c.evaluation.batch_size = 32
    c.evaluation.images = 64
    return c
