"""An emulated GPU that takes every product of float32 tensors in TensorFloat-32."""

import tensorflow as tf

_MATMUL, _EINSUM = tf.matmul, tf.einsum


def to_nearest(x):
    """float32 rounded to 10 explicit mantissa bits, ties to even."""
    bits = tf.bitcast(x, tf.int32)
    odd = tf.bitwise.right_shift(bits, 13) & 1
    return tf.bitcast((bits + 0xFFF + odd) & -(2**13), tf.float32)


def to_zero(x):
    """float32 without its last 13 bits, as a tensor core reads one that nobody has rounded."""
    return tf.bitcast(tf.bitcast(x, tf.int32) & -(2**13), tf.float32)


def unrounded(x):
    """x, which must be exact in TensorFloat-32."""
    tf.debugging.assert_equal(to_nearest(x), x)
    return x


def truncated_sums(x, y):
    """x y where exact sums of 8 products are added to an accumulator of 24 bits that truncates."""
    x, y = tf.cast(x, tf.float64), tf.cast(y, tf.float64)
    total = tf.zeros([], tf.float64)
    for k in range(0, x.shape[-1], 8):
        total += _MATMUL(x[..., k : k + 8], y[..., k : k + 8, :])
        total = tf.bitcast(tf.bitcast(total, tf.int64) & -(2**29), tf.float64)
    return tf.cast(total, tf.float32)


def emulate(monkeypatch, rounding=to_nearest, multiply=_MATMUL):
    """Lets tf.matmul, its gradients and tf.einsum round their float32 operands."""

    def matmul(x, y, transpose_a=False, transpose_b=False):
        if x.dtype != tf.float32:
            return _MATMUL(x, y, transpose_a, transpose_b)

        @tf.custom_gradient
        def product(x, y):
            def grad(g):
                to_x, to_y = matmul(g, y, transpose_b=True), matmul(x, g, transpose_a=True)
                return _sum_like(to_x, x), _sum_like(to_y, y)

            return multiply(rounding(x), rounding(y)), grad

        x = tf.linalg.matrix_transpose(x) if transpose_a else x
        y = tf.linalg.matrix_transpose(y) if transpose_b else y
        return product(x, y)

    def einsum(equation, *tensors):
        if tensors[0].dtype == tf.float32:
            tensors = [x + tf.stop_gradient(rounding(x) - x) for x in tensors]
        return _EINSUM(equation, *tensors)

    monkeypatch.setattr(tf, "matmul", matmul)
    monkeypatch.setattr(tf, "einsum", einsum)


def _sum_like(g, x):
    axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(x), s1=tf.shape(g))
    return tf.reshape(tf.reduce_sum(g, axes), tf.shape(x))
