"""A conditional VAE on 5,000 digits, 28x28: p(x | z, y) and q(z | x, y), y the digit.

    bin/train --config configs/mnist5k_conditional.py

Expected: KL 8.0 nats (target 8); pictures/classes.png shows each digit in a row, the same
handwriting in a column.
Cost: 8 minutes on one core beside other work, 1 GB of memory.
"""

from tf_structvae import config


def get_config():
    c = config.default()
    c.name = "mnist5k_conditional"
    c.data.name = "mnist5k"
    c.data.label = "label"
    c.model.latent_dim = 8
    stages = ((32, 2), (64, 2), (64, 2))
    c.model.encoder.stages = stages
    c.model.decoder.update({"stages": stages, "hidden": 64})
    c.prior.by_label, c.prior.components = True, 5
    c.objective.kl_target = 8.0
    c.train.steps = 2000
    c.train.epoch_steps = 400
    c.evaluation.images = 500
    return c
