"""A convolutional VAE in plain Keras on mnist5k; only the decoder's last layer is not Keras' own.

python examples/convolutional_vae.py

trains it with LowRankNormalHead and with IndependentNormalHead, prints what both reach on held-out
digits, and draws digits of both to convolutional_vae.png.
"""

import keras
import numpy as np
from keras import layers, ops

import tf_structvae as sv
from tf_structvae import figures


@keras.saving.register_keras_serializable(package="examples")
class VAE(keras.Model):
    def __init__(self, head, width=16, latent_dim=8, **kwargs):
        super().__init__(**kwargs)
        self.head, self.width, self.latent_dim = head, width, latent_dim
        conv = {"padding": "same", "activation": "relu"}
        self.encoder = keras.Sequential(
            [
                layers.Conv2D(width, 5, 2, **conv),
                layers.Conv2D(2 * width, 5, 2, **conv),
                layers.Flatten(),
                layers.Dense(2 * latent_dim),  # mean and log-variance of q(z | x)
            ]
        )
        self.decoder = keras.Sequential(
            [
                layers.Dense(7 * 7 * 2 * width, activation="relu"),
                layers.Reshape((7, 7, 2 * width)),
                layers.Conv2DTranspose(2 * width, 5, 2, **conv),
                layers.Conv2DTranspose(width, 5, 2, **conv),
                head,
            ]
        )
        self.seed = keras.random.SeedGenerator(0)

    def call(self, images):
        mean, log_variance = ops.split(self.encoder(images), 2, axis=-1)
        kl = 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)
        self.add_loss(ops.mean(ops.sum(kl, axis=-1)))
        noise = keras.random.normal(ops.shape(mean), seed=self.seed)
        return self.decoder(mean + ops.exp(0.5 * log_variance) * noise)

    def get_config(self):
        head = keras.saving.serialize_keras_object(self.head)
        sizes = {"width": self.width, "latent_dim": self.latent_dim}
        return {**super().get_config(), "head": head, **sizes}


def images(split, count):
    batches = sv.datasets.load("mnist5k", split, batch_size=100)
    return np.concatenate(list(batches.as_numpy_iterator()))[:count]


def main(
    train=4000, held_out=500, epochs=20, width=16, rank=15, columns=10, path="convolutional_vae.png"
):
    x, test = images("train", train), images("test", held_out)
    rows, results = [figures.Row("held-out digits", test[:columns])], {}
    options = {"channels": 1, "epsilon": 0.02, "noise": "learned", "mean_initial": 0.1}
    for name, head in (
        ("low rank", sv.layers.LowRankNormalHead(rank=rank, factor_initial=0.01, **options)),
        ("independent", sv.layers.IndependentNormalHead(**options)),
    ):
        keras.utils.set_random_seed(0)
        vae = VAE(head, width)
        measured = [sv.metrics.LogProb(), sv.metrics.MahalanobisDistance()]
        if name == "low rank":
            measured.append(sv.metrics.NoiseSquare())
        vae.compile(
            keras.optimizers.Adam(2e-3), sv.losses.NegativeLogLikelihood(), metrics=measured
        )
        vae.fit(x, x, batch_size=50, epochs=epochs, verbose=2)
        found = vae.evaluate(test, test, verbose=0, return_dict=True)
        results[name] = {"elbo": -found.pop("loss"), **found}
        print(name, {k: round(float(v), 3) for k, v in results[name].items()})
        z = np.random.default_rng(0).normal(size=(columns, vae.latent_dim)).astype(np.float32)
        p = vae.decoder(z)
        for label, flat in (("mean", p.mean()), ("sample", figures.sample_picture(p, 0))):
            flat = figures.to_images(flat, (28, 28, 1))
            rows.append(figures.Row(f"{name}: {label}", flat))
    figures.sheet(rows, "Digits from the prior").savefig(path)
    return results


if __name__ == "__main__":
    main()
