"""The paper's recipe on drawn faces, 64x64: D = 1e-5 I, KL and entropy constraints (eq. 2).

    bin/train --config configs/avatars_paper.py

The authors sum over a batch of 25 with rate 1 and damping 10; per image that is 25 and 250.
Expected: KL within 3% of 45, entropy within 1 nat of its budget of 150 nats above the floor.
Cost: about 10 minutes on 2 cores, 2 GB of memory.
"""

from tf_structvae import config


def get_config():
    c = config.default()
    c.name = "avatars_paper"
    c.model.noise = "fixed"
    c.model.epsilon = 1e-5
    c.model.factor_scale = "kernel"
    c.model.factor_initial = 1e-5
    c.objective.kind = "clamped_equality"
    c.objective.entropy_budget = 150.0
    c.objective.rate = 25.0
    c.objective.damping = 250.0
    return c
