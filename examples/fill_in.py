"""Image-to-image regression with structured uncertainty: the lower half of a digit from its upper.

python examples/fill_in.py

There is no latent variable: a plain network, `compile` and `fit`. It trains with LowRankNormalHead
and with IndependentNormalHead, prints what both reach on held-out digits of mnist5k, and draws
several fillings of each to fill_in.png.
"""

import keras
import numpy as np
from keras import layers

import tf_structvae as sv
from tf_structvae import figures


def network(head, width=16):
    """Upper halves [B, 14, 28, 1] -> a distribution over lower halves, event [14 * 28]."""
    conv = {"padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((14, 28, 1)),
            layers.Conv2D(width, 5, 2, **conv),
            layers.Conv2D(2 * width, 5, (1, 2), **conv),
            layers.Flatten(),
            layers.Dropout(0.3),  # 4000 digits are few
            layers.Dense(8 * width, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(7 * 7 * 2 * width, activation="relu"),
            layers.Reshape((7, 7, 2 * width)),
            layers.Conv2DTranspose(2 * width, 5, (1, 2), **conv),
            layers.Conv2DTranspose(width, 5, 2, **conv),
            head,
        ]
    )


def halves(split, count):
    batches = sv.datasets.load("mnist5k", split, batch_size=100)
    digits = np.concatenate(list(batches.as_numpy_iterator()))[:count]
    return digits[:, :14], digits[:, 14:]


def main(train=4000, held_out=500, epochs=20, width=16, rank=15, columns=10, path="fill_in.png"):
    x, y = halves("train", train)
    x_test, y_test = halves("test", held_out)
    seen = x_test[:columns]
    rows = [figures.Row("held-out digits", np.concatenate([seen, y_test[:columns]], 1))]
    results = {}
    options = {"channels": 1, "epsilon": 0.02, "noise": "learned", "mean_initial": 0.1}
    for name, head in (
        ("low rank", sv.layers.LowRankNormalHead(rank=rank, factor_initial=0.01, **options)),
        ("independent", sv.layers.IndependentNormalHead(**options)),
    ):
        keras.utils.set_random_seed(0)
        model = network(head, width)
        metrics = [
            sv.metrics.LogProb(),
            sv.metrics.MahalanobisDistance(),
            sv.metrics.RootMeanSquaredError(),
        ]
        model.compile(
            keras.optimizers.Adam(2e-3), sv.losses.NegativeLogLikelihood(), metrics=metrics
        )
        model.fit(x, y, batch_size=50, epochs=epochs, verbose=2)
        found = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
        results[name] = found
        print(name, {k: round(float(v), 3) for k, v in found.items()})
        p = model(seen)
        pictures = {"mean": p.mean()}
        for k in range(3):
            pictures[f"sample {k + 1}"] = figures.sample_picture(p, k)
        for label, flat in pictures.items():
            whole = np.concatenate([seen, figures.to_images(flat, (14, 28, 1))], 1)
            rows.append(figures.Row(f"{name}: {label}", whole))
    figures.sheet(rows, "Lower halves of digits, given the upper halves").savefig(path)
    return results


if __name__ == "__main__":
    main()
