"""A VAE with two levels of latents, z2 -> z1 -> x, in plain Keras on mnist5k.

python examples/hierarchical_vae.py

The loss is -log p(x | z1) + KL(q(z1 | x) || p(z1 | z2)) + KL(q(z2 | z1) || N(0, I)). It trains with
LowRankNormalHead and with IndependentNormalHead, prints what both reach on held-out digits, and
draws digits of both to hierarchical_vae.png.
"""

import keras
import numpy as np
from keras import layers, ops

import tf_structvae as sv
from tf_structvae import figures

CONV = {"padding": "same", "activation": "relu"}


def normal(parameters):
    """[B, 2 L] -> mean and log-variance [B, L]."""
    mean, log_variance = ops.split(parameters, 2, axis=-1)
    return mean, ops.clip(log_variance, -10, 10)


def draw(normal, seed):
    mean, log_variance = normal
    return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), seed=seed)


def divergence(q, p):
    """KL(q || p) of two diagonal normals, nats, [B]."""
    (q_mean, q_log), (p_mean, p_log) = q, p
    squares = (ops.exp(q_log) + ops.square(q_mean - p_mean)) / ops.exp(p_log)
    return 0.5 * ops.sum(squares - 1.0 + p_log - q_log, axis=-1)


def two_layers(units, outputs):
    return keras.Sequential([layers.Dense(units, activation="relu"), layers.Dense(outputs)])


class HierarchicalVAE(keras.Model):
    def __init__(self, head, width=16, lower=16, upper=4):
        super().__init__()
        self.upper = upper
        self.to_lower = keras.Sequential(  # q(z1 | x)
            [
                layers.Conv2D(width, 5, 2, **CONV),
                layers.Conv2D(2 * width, 5, 2, **CONV),
                layers.Flatten(),
                layers.Dense(2 * lower),
            ]
        )
        self.to_upper = two_layers(4 * width, 2 * upper)  # q(z2 | z1)
        self.prior = two_layers(4 * width, 2 * lower)  # p(z1 | z2)
        self.decoder = keras.Sequential(  # p(x | z1)
            [
                layers.Dense(7 * 7 * 2 * width, activation="relu"),
                layers.Reshape((7, 7, 2 * width)),
                layers.Conv2DTranspose(2 * width, 5, 2, **CONV),
                layers.Conv2DTranspose(width, 5, 2, **CONV),
                head,
            ]
        )
        self.kl_z1, self.kl_z2 = keras.metrics.Mean("kl_z1"), keras.metrics.Mean("kl_z2")
        self.seed = keras.random.SeedGenerator(0)

    def call(self, images):
        q1 = normal(self.to_lower(images))
        z1 = draw(q1, self.seed)
        q2 = normal(self.to_upper(z1))
        kl1 = divergence(q1, normal(self.prior(draw(q2, self.seed))))
        kl2 = divergence(q2, (0.0, 0.0))
        self.kl_z1.update_state(kl1)
        self.kl_z2.update_state(kl2)
        self.add_loss(ops.mean(kl1 + kl2))
        return self.decoder(z1)

    def generate(self, count, seed):
        """p(x | z1), with z1 and z2 drawn from their priors."""
        seed = keras.random.SeedGenerator(seed)
        z2 = keras.random.normal((count, self.upper), seed=seed)
        return self.decoder(draw(normal(self.prior(z2)), seed))


def images(split, count):
    batches = sv.datasets.load("mnist5k", split, batch_size=100)
    return np.concatenate(list(batches.as_numpy_iterator()))[:count]


def main(
    train=4000, held_out=500, epochs=20, width=16, rank=15, columns=10, path="hierarchical_vae.png"
):
    x, test = images("train", train), images("test", held_out)
    rows, results = [figures.Row("held-out digits", test[:columns])], {}
    options = {"channels": 1, "epsilon": 0.02, "noise": "learned", "mean_initial": 0.1}
    for name, head in (
        ("low rank", sv.layers.LowRankNormalHead(rank=rank, factor_initial=0.01, **options)),
        ("independent", sv.layers.IndependentNormalHead(**options)),
    ):
        keras.utils.set_random_seed(0)
        vae = HierarchicalVAE(head, width)
        vae.compile(
            keras.optimizers.Adam(2e-3),
            sv.losses.NegativeLogLikelihood(),
            metrics=[sv.metrics.LogProb(), sv.metrics.MahalanobisDistance()],
        )
        vae.fit(x, x, batch_size=50, epochs=epochs, verbose=2)
        found = vae.evaluate(test, test, verbose=0, return_dict=True)
        results[name] = {"elbo": -found.pop("loss"), **found}
        print(name, {k: round(float(v), 3) for k, v in results[name].items()})
        p = vae.generate(columns, seed=0)
        for label, flat in (("mean", p.mean()), ("sample", figures.sample_picture(p, 0))):
            flat = figures.to_images(flat, (28, 28, 1))
            rows.append(figures.Row(f"{name}: {label}", flat))
    figures.sheet(rows, "Digits from the prior, z2 -> z1 -> x").savefig(path)
    return results


if __name__ == "__main__":
    main()
