"""The demonstration model in saved_models/demo: drawn faces, 64x64, in a few megabytes.

    bin/train --config configs/demo.py

Expected: KL 45 +- 1 nats, faces of varied, plausible colours.
Cost: about 15 minutes on 2 cores, 2 GB of memory.
"""

from tf_structvae import config


def get_config():
    c = config.default()
    c.name = "demo"
    stages = ((24, 2), (32, 2), (64, 2), (64, 2))
    c.model.encoder.update({"stem": 16, "stages": stages})
    c.model.decoder.update({"stages": stages, "hidden": 64})
    c.train.steps = 2000
    c.train.epoch_steps = 400
    return c
