"""A Keras network in PyTorch, layer by layer: the same sizes, parameters and operations."""

from __future__ import annotations

from collections.abc import Callable

import keras
import torch
from torch import nn


def array(weight) -> torch.Tensor:
    """A weight of Keras."""
    return torch.tensor(keras.ops.convert_to_numpy(weight))


def copy(parameter: torch.Tensor | None, weight: torch.Tensor) -> None:
    """Sets a parameter of PyTorch."""
    assert parameter is not None
    with torch.no_grad():
        parameter.copy_(weight)


def _convolution(layer: keras.layers.Conv2D) -> nn.Module:
    inputs, outputs = layer.kernel.shape[2:]
    module = nn.Conv2d(
        inputs,
        outputs,
        layer.kernel_size,
        layer.strides,
        padding=(layer.kernel_size[0] // 2, layer.kernel_size[1] // 2),
        bias=layer.use_bias,
    )
    copy(module.weight, array(layer.kernel).permute(3, 2, 0, 1))
    if layer.use_bias:
        copy(module.bias, array(layer.bias))
    return module


def _transposed(layer: keras.layers.Conv2DTranspose) -> nn.Module:
    inputs, outputs = layer.kernel.shape[3], layer.kernel.shape[2]
    rows, stride = layer.kernel_size[0], layer.strides[0]
    padding, more = (rows // 2, stride - 1) if layer.padding == "same" else (0, 0)
    module = nn.ConvTranspose2d(
        inputs, outputs, layer.kernel_size, layer.strides, padding, more, bias=layer.use_bias
    )
    copy(module.weight, array(layer.kernel).permute(3, 2, 0, 1))
    if layer.use_bias:
        copy(module.bias, array(layer.bias))
    return module


def _dense(layer: keras.layers.Dense) -> nn.Module:
    inputs, outputs = layer.kernel.shape
    module = nn.Linear(inputs, outputs, bias=layer.use_bias)
    copy(module.weight, array(layer.kernel).T)
    if layer.use_bias:
        copy(module.bias, array(layer.bias))
    return module


def _batch_norm(layer: keras.layers.BatchNormalization) -> nn.Module:
    module = nn.BatchNorm2d(layer.gamma.shape[0], layer.epsilon, 1 - layer.momentum)
    copy(module.weight, array(layer.gamma))
    copy(module.bias, array(layer.beta))
    return module


class _Reshape(nn.Module):
    """[B, N], in the order of rows, columns and channels, to [B, C, H, W]."""

    def __init__(self, layer: keras.layers.Reshape):
        super().__init__()
        self.shape = layer.target_shape

    def forward(self, x):
        return x.reshape(-1, *self.shape).permute(0, 3, 1, 2)


class _Flatten(nn.Module):
    """The other way."""

    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


class _Crop(nn.Module):
    def __init__(self, layer: keras.layers.Cropping2D):
        super().__init__()
        (_, self.rows), (_, self.columns) = layer.cropping

    def forward(self, x):
        return x[:, :, : x.shape[2] - self.rows, : x.shape[3] - self.columns]


class _Sum(nn.Module):
    def forward(self, *x):
        return sum(x[1:], x[0])


class _Maximum(nn.Module):
    def forward(self, x):
        return x.amax((2, 3))


def _upsampling(layer: keras.layers.UpSampling2D) -> nn.Module:
    return nn.Upsample(
        scale_factor=tuple(map(float, layer.size)),
        mode=layer.interpolation,
        align_corners=False if layer.interpolation == "bilinear" else None,
    )


_MODULES: dict[type, Callable[..., nn.Module]] = {
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Conv2D: _convolution,
    keras.layers.Dense: _dense,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.Reshape: _Reshape,
    keras.layers.Flatten: lambda _: _Flatten(),
    keras.layers.Cropping2D: _Crop,
    keras.layers.Add: lambda _: _Sum(),
    keras.layers.GlobalMaxPooling2D: lambda _: _Maximum(),
    keras.layers.UpSampling2D: _upsampling,
}


def _module(layer: keras.layers.Layer) -> nn.Module:
    if isinstance(layer, keras.layers.Activation):
        if layer.activation is not keras.activations.relu:
            raise ValueError(f"{layer.name} must have the activation relu.")
        return nn.ReLU()
    for kind, make in _MODULES.items():
        if isinstance(layer, kind):
            return make(layer)
    raise ValueError(f"{layer.name} is a {type(layer).__name__}, which has no twin in PyTorch.")


class Network(nn.Module):
    """Takes what a Keras network takes, images as [B, C, H, W], and ends before its head.

    Weights are copied. A convolution with a stride is padded alike on both sides, as PyTorch does
    and authors of PyTorch code write it; Keras pads an even size by one pixel at its end alone. So
    the results are equal for odd sizes only; the work is the same.

    Args:
      network: of `residual_encoder` or `residual_decoder`, without labels.
      head: the last layer, which is left out; None leaves out none.

    Raises:
      ValueError: a layer without a twin.
    """

    def __init__(self, network: keras.Model, head: keras.layers.Layer | None = None):
        super().__init__()
        layers = [
            layer
            for layer in network.layers
            if layer is not head and not isinstance(layer, keras.layers.InputLayer)
        ]
        self.steps = nn.ModuleList(_module(layer) for layer in layers)
        self._first = id(network.inputs[0])
        self._last = id(network.outputs[0] if head is None else head.input)
        self._inputs = [
            [id(x) for x in (layer.input if isinstance(layer.input, list) else [layer.input])]
            for layer in layers
        ]
        self._outputs = [id(layer.output) for layer in layers]

    def forward(self, x):
        found = {self._first: x}
        for step, inputs, output in zip(self.steps, self._inputs, self._outputs, strict=True):
            found[output] = step(*(found[i] for i in inputs))
        return found[self._last]
