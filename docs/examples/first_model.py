import keras
from keras import layers

import tf_structvae as sv

images = sv.datasets.load("avatars", "train", (32, 32), batch_size=32, steps=1200)


def block(filters, strides=1):
    convolution = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)
    return [convolution, layers.BatchNormalization(), layers.ReLU()]


encoder = keras.Sequential(
    [
        keras.Input((32, 32, 3)),
        *[layer for filters in (16, 32, 64) for layer in block(filters, strides=2)],
        layers.Flatten(),
        layers.Dense(2 * 32),  # mean and log-variance of q(z | x)
    ]
)
decoder = keras.Sequential([keras.Input((32,)), layers.Dense(4 * 4 * 64)])
decoder.add(layers.Reshape((4, 4, 64)))
for filters in (64, 32, 32):
    decoder.add(layers.UpSampling2D(interpolation="bilinear"))
    for layer in block(filters):
        decoder.add(layer)
decoder.add(
    sv.layers.LowRankNormalHead(
        channels=3,
        rank=25,
        epsilon=0.01,
        noise="learned",
        factor_scale="closed_form",
        factor_initial=0.005,
    )
)
kl = sv.Constraint("kl", target=45.0, rate=0.2, damping=5.0)
vae = sv.StructuredVAE(encoder, decoder, [kl], pretrain_steps=200)
vae.compile(keras.optimizers.Adam(1.5e-3))
vae.fit(images, verbose=2)

p = vae.decode(keras.random.normal([24, 32], seed=1))  # at draws of z from the prior
pictures = sv.figures.to_images(sv.figures.sample_picture(p, seed=1), (32, 32, 3))
keras.utils.save_img("samples.png", sv.figures.grid(pictures.clip(0, 1), columns=8))
