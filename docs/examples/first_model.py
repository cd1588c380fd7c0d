import keras

import tf_structvae as sv

images = sv.datasets.load("avatars", "train", (32, 32), batch_size=32, steps=1000)
encoder = keras.Sequential(
    [
        keras.Input((32, 32, 3)),
        keras.layers.Conv2D(32, 4, 2, activation="relu"),
        keras.layers.Conv2D(64, 4, 2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(2 * 32),  # mean and log-variance of q(z | x)
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((32,)),
        keras.layers.Dense(8 * 8 * 64, activation="relu"),
        keras.layers.Reshape((8, 8, 64)),
        keras.layers.Conv2DTranspose(64, 4, 2, padding="same", activation="relu"),
        keras.layers.Conv2DTranspose(32, 4, 2, padding="same", activation="relu"),
        sv.layers.LowRankNormalHead(
            channels=3,
            rank=25,
            epsilon=0.01,
            noise="learned",
            factor_scale="closed_form",
            factor_initial=0.005,
        ),
    ]
)
kl = sv.Constraint("kl", target=45.0, rate=0.2, damping=5.0)
vae = sv.StructuredVAE(encoder, decoder, [kl], pretrain_steps=200)
vae.compile(keras.optimizers.Adam(1.5e-3))
vae.fit(images)

p = vae.decode(keras.random.normal([24, 32], seed=1))  # at draws of z from the prior
pictures = sv.figures.to_images(sv.figures.sample_picture(p, seed=1), (32, 32, 3))
keras.utils.save_img("samples.png", sv.figures.grid(pictures.clip(0, 1), columns=8))
