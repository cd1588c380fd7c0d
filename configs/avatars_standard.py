"""The standard VAE beside configs/avatars.py: same network, steps and target, independent pixels.

    bin/train --config configs/avatars_standard.py

Expected: KL 45 +- 1 nats; samples are the mean plus noise.
Cost: about 9 minutes on 2 cores, 2 GB of memory.
"""

from tf_structvae.training import config, run_name


def get_config():
    c = config.default()
    c.name = run_name.reference(c.data) + "_standard"
    c.model.likelihood = "independent"
    return c
