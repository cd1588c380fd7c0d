"""Products that TensorFlow would take in TensorFloat-32 on a GPU, emulated on the CPU."""

import numpy as np
import paper_size
import pytest
import tensor_float_32
import tensorflow as tf
from cases import KINDS, Case

from tf_structvae.distributions import linalg

SQUARES = np.geomspace(1000, 1, paper_size.RANK)


@pytest.fixture
def split(monkeypatch):
    """Products are split as they are where TensorFloat-32 may be used."""
    monkeypatch.setattr(linalg, "_tensor_float_32", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])


def dense(pixels, rng):
    n = 3 * pixels
    factor = paper_size.with_singular_values(SQUARES, rng, n).astype(np.float32)
    return paper_size.dense_problem(factor, rng.uniform(size=n).astype(np.float32), rng)


def features(pixels, rng):
    """64 ReLU features h and a kernel (h^T h)^-1/2 Q, where Q has the singular values."""
    h = np.maximum(rng.normal(size=(pixels, 64)), 0)
    root = np.linalg.inv(np.linalg.cholesky(h.T @ h)).T
    q = paper_size.with_singular_values(SQUARES, rng, 64 * 3).reshape(64, 3, -1)
    kernel = np.einsum("fg,gcr->fcr", root, q)
    loc = rng.uniform(size=3 * pixels)
    return paper_size.features_problem(*(x.astype(np.float32) for x in (h, kernel, loc)), rng)


PROBLEMS = pytest.mark.parametrize("problem", [dense, features])
PIXELS = pytest.mark.parametrize(
    "pixels", [10000, pytest.param(paper_size.PIXELS, marks=pytest.mark.long)]
)
HARDWARE = pytest.mark.parametrize(
    "hardware",
    [
        {"rounding": tensor_float_32.to_nearest},
        {"rounding": tensor_float_32.to_zero, "multiply": tensor_float_32.truncated_sums},
    ],
    ids=["nearest", "truncating"],
)


@PROBLEMS
@PIXELS
@HARDWARE
def test_split_products_are_as_exact_as_float32(problem, pixels, hardware, monkeypatch, split):
    arguments = problem(pixels, np.random.default_rng(0))
    tensor_float_32.emulate(monkeypatch, **hardware)
    paper_size.check(*arguments)


@PROBLEMS
@PIXELS
@HARDWARE
def test_without_the_split_many_nats_are_lost(problem, pixels, hardware, monkeypatch, no_gpu):
    arguments = problem(pixels, np.random.default_rng(0))
    tensor_float_32.emulate(monkeypatch, **hardware)
    errors = {name: error for name, error, _ in paper_size.errors(*arguments)}
    assert errors["log_prob in"] > 10
    assert errors["log_prob in by x"] > 1e-2


@KINDS
def test_no_product_escapes_the_split(kind, monkeypatch, split):
    """Every float32 operand is exact in TensorFloat-32, however the hardware would round it."""
    tensor_float_32.emulate(monkeypatch, tensor_float_32.unrounded)
    case = Case("full")
    names = ["cov_factor"] if kind == "dense" else ["features", "kernel"]
    values = [case.factor] if kind == "dense" else [case.features, case.kernel]
    x, *parameters = (tf.constant(v, tf.float32) for v in (case.x, *values))

    def statistics(*parameters):
        d = case.make(kind, np.float32, **dict(zip(names, parameters, strict=True)))
        conditional = d.condition(case.mask, x)
        return [
            *d.summarize(x),
            d.sample(3, seed=(0, 1)),
            d.covariance(),
            d.variance(),
            d.pixel_influence(),
            d.covariance_row(3),
            d.marginal([0, 5]).covariance(),
            conditional.mean(),
            conditional.variance(),
            d.principal_components().directions,
            d.scale_components(tf.ones([5])).variance(),
            d.kl_divergence(d.copy(cov_diag=1.0)),
        ]

    with tf.GradientTape() as outer:
        outer.watch([x, *parameters])
        with tf.GradientTape() as inner:
            inner.watch([x, *parameters])
            total = tf.add_n([tf.reduce_sum(tf.square(s)) for s in statistics(*parameters)])
        first = inner.gradient(total, [x, *parameters])
        norm = tf.add_n([tf.reduce_sum(tf.square(g)) for g in first])
    second = outer.gradient(norm, [x, *parameters])
    assert all(g is not None for g in second)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.matmul(x, x, transpose_b=True)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("batches", [((), ()), ((2, 1), (3,))])
def test_derivatives_of_split_products(transpose_a, transpose_b, batches, split):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*batches[0], *((4, 3) if transpose_a else (3, 4))))
    y = rng.normal(size=(*batches[1], *((5, 4) if transpose_b else (4, 5))))

    def derivatives(matmul, dtype):
        arguments = tf.constant(x, dtype), tf.constant(y, dtype)
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                value = tf.reduce_sum(tf.sin(matmul(*arguments, transpose_a, transpose_b)))
            first = inner.gradient(value, arguments)
            norm = tf.add_n([tf.reduce_sum(tf.square(g)) for g in first])
        return [value, *first, *outer.gradient(norm, arguments)]

    exact = derivatives(tf.matmul, tf.float64)
    for got, expected in zip(derivatives(linalg.matmul, tf.float32), exact, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_only_a_gpu_that_may_use_it_pays(monkeypatch, no_gpu):
    assert not linalg._tensor_float_32()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert linalg._tensor_float_32()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        assert not linalg._tensor_float_32()
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_the_plain_path_adds_no_operation(no_gpu):
    def operations(matmul, einsum):
        @tf.function
        def both(x, y):
            return matmul(x, y, transpose_a=True), einsum("nf,nr->fr", x, y)

        graph = both.get_concrete_function(*[tf.TensorSpec([9, 2])] * 2).graph
        return [op.type for op in graph.get_operations()]

    assert operations(linalg.matmul, linalg.einsum) == operations(tf.matmul, tf.einsum)
