"""What the residual networks are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import tensorflow as tf

NORMALIZATIONS = ("batch", "sync_batch", "group", "none")
"""By the batch, by the global batch of several devices, by groups of channels, or not at all."""


def normalize(x, kind: str, name: str):
    """One of `NORMALIZATIONS`."""
    if kind in ("batch", "sync_batch"):
        layer = BatchNormalization(momentum=0.9, synchronized=kind == "sync_batch", name=name)
        return layer(x)
    if kind == "group":
        groups = math.gcd(8, x.shape[-1])
        return keras.layers.GroupNormalization(groups, name=name)(x)
    return x


@keras.saving.register_keras_serializable(package="tf_structvae")
class Conv2D(keras.layers.Conv2D):
    """Keras's convolution, but a 1x1 with a stride is one without of every stride-th pixel.

    The results are the same. oneDNN's kernel gradient of the plain form is wrong for few channels,
    and writes past its workspace: docs/faq.md, "The process dies". A mean over one pixel is that
    pixel, and takes an eighth of the time of a slice with steps and its gradient. As a layer under
    Keras's own name this leaves checkpoints and files of weights as they were.
    """

    def convolution_op(self, inputs, kernel):
        if self.kernel_size == (1, 1) and self.strides != (1, 1):
            some = tf.nn.avg_pool2d(inputs, 1, self.strides, "VALID")
            return keras.ops.conv(some, kernel, 1, "valid", data_format="channels_last")
        return super().convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="tf_structvae")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, with TensorFlow's fused kernel in training, which takes 8% off a step at 64x64.

    Where it is synchronised, replicas exchange one tensor instead of three: on several machines
    each exchange takes a millisecond or two, one after the other through all layers, forth and
    back. The squares are those of the distance from the moving mean, which is the same on all
    replicas and loses less to rounding than the distance from zero.
    """

    def call(self, inputs, training=None, mask=None):
        context = tf.distribute.get_replica_context()
        several = context is None or context.num_replicas_in_sync > 1
        learns = training and self.trainable and self.scale and self.center
        kinds = (tf.float32, tf.bfloat16, tf.float16)
        usual = inputs.shape.rank == 4 and self.axis in (-1, 3) and inputs.dtype in kinds
        if not (learns and usual) or mask is not None or (self.synchronized and several):
            return super().call(inputs, training=training, mask=mask)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=[],
            variance=[],
            epsilon=self.epsilon,
        )
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        variance *= (count - 1.0) / count  # the kernel's is that of a sample
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1.0 - self.momentum))
        return tf.cast(y, self.compute_dtype)

    def _moments(self, inputs, mask):
        context = tf.distribute.get_replica_context()
        alone = context is None or context.num_replicas_in_sync == 1
        last = self.axis in (-1, inputs.shape.rank - 1)
        if not (self.synchronized and last) or mask is not None or alone:
            return super()._moments(inputs, mask)
        about = tf.cast(self.moving_mean, inputs.dtype)
        centred = inputs - about
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], inputs.dtype)
        axes = self._reduction_axes
        own = tf.concat(
            [
                tf.reduce_sum(centred, axes),
                tf.reduce_sum(tf.square(centred), axes),
                count[tf.newaxis],
            ],
            axis=0,
        )
        everywhere = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
        channels = inputs.shape[-1]
        shift, square = tf.split(everywhere[:-1] / everywhere[-1], [channels, channels])
        return about + shift, tf.maximum(square - tf.square(shift), 0.0)


def conv(x, filters: int, size: int, stride: int, name: str | None, norm: str = "none"):
    """A convolution; without a bias where batch normalisation would take it away again.

    The gradient of such a bias is rounding noise, along which Adam takes full steps: runs on
    unlike machines would part.
    """
    return Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=norm not in ("batch", "sync_batch"),
        kernel_initializer="he_normal",
        name=name,
    )(x)


def transposed(x, filters: int, stride: int, name: str, norm: str = "none"):
    """A transposed 3x3 convolution that enlarges by `stride`; its bias as that of `conv`."""
    return keras.layers.Conv2DTranspose(
        filters,
        3,
        stride,
        padding="same",
        use_bias=norm not in ("batch", "sync_batch"),
        kernel_initializer="he_normal",
        name=name,
    )(x)


def residual(x, filters: int, resample: Callable, stride: int, norm: str, activation: str, name):
    """act(norm(conv(resample(act(norm(conv(x)))))) + resample(skip(x))), two 3x3 convolutions.

    The encoder's first convolution has the stride; the decoder enlarges between the two, so that
    only the second works at the larger size.
    """
    skip = x
    if stride != 1 or x.shape[-1] != filters:
        skip = conv(x, filters, 1, stride, f"{name}_skip")
    y = conv(x, filters, 3, stride, f"{name}_conv1", norm)
    y = keras.layers.Activation(activation)(normalize(y, norm, f"{name}_norm1"))
    y = conv(resample(y, f"{name}_main"), filters, 3, 1, f"{name}_conv2", norm)
    y = normalize(y, norm, f"{name}_norm2")
    y = keras.layers.add([y, resample(skip, f"{name}_skip")])
    return keras.layers.Activation(activation, name=name)(y)


def same(x, name: str):
    """Resamples nothing."""
    return x


def crop(x, size: tuple[int, int], name: str):
    """Leaves out what is more than `size` at the bottom and on the right."""
    extra = (x.shape[1] - size[0], x.shape[2] - size[1])
    if any(extra):
        x = keras.layers.Cropping2D(((0, extra[0]), (0, extra[1])), name=f"{name}_crop")(x)
    return x


def enlarge(size: tuple[int, int], stride: int, mode: str) -> Callable:
    """Enlarges by `stride` and crops to `size`."""

    def resample(x, name):
        if stride == 1:
            return x
        x = keras.layers.UpSampling2D(stride, interpolation=mode, name=f"{name}_up")(x)
        return crop(x, size, name)

    return resample


def transposed_residual(x, filters: int, size, stride: int, norm: str, activation: str, name):
    """act(norm(conv(act(norm(transposed(x))))) + enlarge(skip(x))): a mirrored encoder stage.

    It is the first 3x3 convolution that enlarges, so that the second can even out what a transposed
    convolution with a stride leaves uneven. The skip has a 1x1 convolution and repeats pixels: with
    a stride of its own it would reach only one pixel in stride^2.
    """
    skip = x
    if stride != 1 or x.shape[-1] != filters:
        skip = conv(x, filters, 1, 1, f"{name}_skip")
    y = crop(transposed(x, filters, stride, f"{name}_conv1", norm), size, f"{name}_main")
    y = keras.layers.Activation(activation)(normalize(y, norm, f"{name}_norm1"))
    y = conv(y, filters, 3, 1, f"{name}_conv2", norm)
    y = normalize(y, norm, f"{name}_norm2")
    y = keras.layers.add([y, enlarge(size, stride, "nearest")(skip, f"{name}_skip")])
    return keras.layers.Activation(activation, name=name)(y)


def project(latent, size: tuple[int, int], filters: int, upsample: str):
    """The linear map from z [B, L] to the lowest resolution [B, *size, filters]."""
    if upsample != "transposed":
        x = keras.layers.Dense(size[0] * size[1] * filters, name="project")(latent)
        return keras.layers.Reshape((*size, filters))(x)
    # The same map as a transposed convolution, whose bias is the same for all pixels. Keras's
    # initialisers would count the kernel's extent into the fan, but each pixel sees z just once.
    initial = keras.initializers.RandomNormal(stddev=latent.shape[-1] ** -0.5)
    x = keras.layers.Reshape((1, 1, latent.shape[-1]))(latent)
    return keras.layers.Conv2DTranspose(filters, size, kernel_initializer=initial, name="project")(
        x
    )


def by_class(label, filters: int):
    """Features [B, 1, 1, filters] of one-hot labels [B, K], a row of weights for each class."""
    x = keras.layers.Dense(filters, use_bias=False, name="label_features")(label)
    return keras.layers.Reshape((1, 1, filters))(x)
