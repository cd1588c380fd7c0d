"""A graph file with the names, operations and version of the 2015 Inception graph, but one
convolution for all of its blocks, and what it computes, slowly in NumPy."""

import numpy as np
import tensorflow as tf

SIZE, STRIDE, FEATURES, PLACES = 299, 32, 2048, 10
v1 = tf.compat.v1


class Weights:
    def __init__(self, seed=0, features=FEATURES):
        rng = np.random.default_rng(seed)
        self.kernel = rng.normal(0, 0.3, [3, 3, 3, features]).astype(np.float32)
        self.mean, self.beta = rng.normal(0, 0.5, [2, features]).astype(np.float32)
        self.variance, self.gamma = rng.uniform(0.5, 2, [2, features]).astype(np.float32)


def graph(w):
    """The GraphDef. Batch norm is the operation that TensorFlow removed in graph version 9."""
    with tf.Graph().as_default() as g:
        contents = tf.constant(b"", name="DecodeJpeg/contents")
        decoded = tf.raw_ops.DecodeJpeg(contents=contents, channels=3, name="DecodeJpeg")
        image = tf.expand_dims(tf.cast(decoded, tf.float32, name="Cast"), 0, name="ExpandDims")
        x = tf.raw_ops.ResizeBilinear(images=image, size=[SIZE, SIZE], name="ResizeBilinear")
        x = tf.multiply(tf.subtract(x, 128.0, name="Sub"), 1 / 128, name="Mul")
        x = tf.nn.conv2d(x, tf.constant(w.kernel), STRIDE, "VALID", name="conv/Conv2D")
        for name in ("mean", "variance", "beta", "gamma"):
            tf.constant(getattr(w, name), name=f"conv/batchnorm/{name}")
        x = tf.identity(x, name="conv/batchnorm")
        with tf.control_dependencies([tf.debugging.check_numerics(x, "", name="conv/Check")]):
            x = tf.nn.relu(tf.identity(x, name="conv/control_dependency"), name="conv")
        x = tf.nn.avg_pool2d(x, PLACES, 1, "VALID", name="pool_3")
        tf.reshape(x, [1, len(w.mean)], name="pool_3/_reshape")
    definition = g.as_graph_def()
    for node in definition.node:
        node.attr.pop("half_pixel_centers", None)  # unknown in 2015
        if node.name == "conv/batchnorm":
            node.op = "BatchNormWithGlobalNormalization"
            node.input.extend(f"conv/batchnorm/{n}" for n in ("mean", "variance", "beta", "gamma"))
            node.attr["variance_epsilon"].f = 0.001
            node.attr["scale_after_normalization"].b = True
    definition.versions.producer = 8
    return definition


def write(path, seed=0, features=FEATURES):
    path.write_bytes(graph(Weights(seed, features)).SerializeToString())
    return path


def resized(image):
    """[H, W, C] -> [299, 299, C] by TensorFlow 1's bilinear: pixel i lies at i, not at i + 1/2."""
    h, w, _ = image.shape
    found = np.zeros([SIZE, SIZE, image.shape[-1]])
    for i in range(SIZE):
        for j in range(SIZE):
            y, x = i * h / SIZE, j * w / SIZE
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            top = image[y0, x0] * (1 - (x - x0)) + image[y0, x1] * (x - x0)
            bottom = image[y1, x0] * (1 - (x - x0)) + image[y1, x1] * (x - x0)
            found[i, j] = top * (1 - (y - y0)) + bottom * (y - y0)
    return found


def features(image, w):
    """pool_3 of one image [H, W, 3] with numbers from 0 to 255, [FEATURES]."""
    x = (resized(image.astype(np.float64)) - 128) / 128
    total = np.zeros(len(w.mean))
    for i in range(PLACES):
        for j in range(PLACES):
            patch = x[STRIDE * i : STRIDE * i + 3, STRIDE * j : STRIDE * j + 3]
            y = np.tensordot(patch, w.kernel, 3)
            y = (y - w.mean) / np.sqrt(w.variance + 0.001) * w.gamma + w.beta
            total += np.maximum(y, 0)
    return total / PLACES**2
