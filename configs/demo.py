"""A small model for demonstrations: drawn faces, 64x64, 0.56 M parameters, 2.2 MB of weights.

    bin/train --config configs/demo.py

It is the model in saved_models/demo. Expected: held-out ELBO 18076 nats an image, KL 24.5 from the
mixture of normals that it draws from in the end (43 from N(0, I), with which it is trained; target
45), mean squares of the noise posterior 0.91 to 1.15 over the strong components. 15 minutes on 2
cores beside other work, evaluation and export included.
"""

from tf_structvae import config


def get_config():
    c = config.default()
    c.name = "demo"
    stages = ((24, 2), (32, 2), (64, 2), (64, 2))
    c.model.encoder.update({"stem": 16, "stages": stages})
    c.model.decoder.update({"stages": stages, "hidden": 64})
    c.prior.components = 25  # of which each takes 16 KB
    c.train.steps = 2000
    c.train.epoch_steps = 400
    return c
