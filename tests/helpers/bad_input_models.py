"""Rows of the table of bad input: distributions, layers, losses, constraints, models, networks."""

# fmt: off

from __future__ import annotations

import functools

import keras
import numpy as np
import small_vae
import tensorflow as tf
from bad_input_cases import NAN, Table, V

import tf_structvae as sv
from tf_structvae.distributions import FeatureLowRankMultivariateNormal, LowRankMultivariateNormal
from tf_structvae.layers import IndependentNormalHead, LowRankNormalHead

SHAPE = (6, 5, 2)  # of the model's images
N, R, L = 60, 3, small_vae.LATENT

TABLE = Table()
case = TABLE.add

# --- Distributions ---


def normal(loc=(2, 6), factor=(2, 6, 3), diag=0.1, **options):
    return LowRankMultivariateNormal(tf.zeros(loc), tf.ones(factor), diag, **options)


def through_features(features=(2, 3, 4), kernel=(4, 2, 3), loc=(2, 6), **options):
    return FeatureLowRankMultivariateNormal(
        tf.zeros(loc), tf.ones(features), tf.ones(kernel), 0.1, **options
    )


case("loc is a scalar", lambda: normal(loc=()), V, r"loc must have shape \[\.\.\., N\], got \(\)")
case("factor is a vector", lambda: normal(factor=(6,)), V, r"cov_factor .*\[\.\.\., N, R\], got")
case("factor of other entries", lambda: normal(factor=(2, 5, 3)), V, r"cov_factor.*5.*loc.*6")
case("factor of rank 0", lambda: normal(factor=(2, 6, 0)), V, r"cov_factor.*R >= 1.*\(2, 6, 0\)")
case("loc without entries", lambda: normal((2, 0), (2, 0, 3)), V, r"loc.*N >= 1.*\(2, 0\)")
case("diag of other entries", lambda: normal(diag=tf.ones([2, 5])), V, r"cov_diag.*5.*loc.*6")
case("batches that do not fit", lambda: normal((2, 6), (3, 6, 3)), V, r"batch shapes do not broadcast: loc \(2,\), cov_factor \(3,\)")
case("diag's batch does not fit", lambda: normal(diag=tf.ones([3, 1])), V, r"batch shapes do not broadcast: .*cov_diag \(3,\)")
case(
    "integers",
    lambda: LowRankMultivariateNormal(tf.zeros([6], tf.int32), tf.ones([6, 3]), 0.1),
    V,
    r"loc has dtype int32.*float32",
)
ZERO = [0.1, 0.0, 0.1, 0.1]  # of D, where no row of P is zero
for name, ask in {
    "log_prob": lambda p: p.log_prob(tf.zeros([4])),
    "entropy": lambda p: p.entropy(),
    "noise_posterior": lambda p: p.noise_posterior(tf.zeros([4])),
    "standardized_residual": lambda p: p.standardized_residual(tf.zeros([4])),
    "scale": lambda p: p.scale,
    "condition": lambda p: p.condition([True, True, False, False], tf.zeros([4])),
    "KL": lambda p: p.kl_divergence(p),
}.items():
    case(f"{name}: diag with a zero", lambda f=ask: f(normal((4,), (4, 1), ZERO)), V, r"cov_diag must be positive wherever the row of P is not zero, got zero")
case("log_prob: features, diag with a zero", lambda: FeatureLowRankMultivariateNormal(tf.zeros([4]), tf.ones([2, 3]), tf.ones([3, 2, 1]), ZERO).log_prob(tf.zeros([4])), V, r"cov_diag must be positive")
case("log_prob: diag is zero", lambda: normal(diag=0.0).log_prob(tf.zeros([2, 6])), V, r"cov_diag must be positive")
for name in ("cdf", "log_cdf", "survival_function", "log_survival_function", "quantile"):
    case(f"{name} of several entries", lambda n=name: getattr(normal(), n)(tf.zeros([2, 6])), NotImplementedError, r"LowRankMultivariateNormal has no cdf, survival function or quantiles")

case(
    "two precisions",
    lambda: LowRankMultivariateNormal(tf.zeros([6]), tf.ones([6, 3], tf.float64), 0.1),
    V,
    r"cov_factor has dtype float64.*float32",
)
case(
    "all integers",
    lambda: LowRankMultivariateNormal(
        tf.zeros([6], tf.int32), tf.ones([6, 3], tf.int32), tf.ones([], tf.int32)
    ),
    V,
    r"loc has dtype int32.*float",
)
case(
    "negative diag, checked",
    lambda: normal(diag=-0.1, validate_args=True),
    tf.errors.InvalidArgumentError,
    r"cov_diag must not be negative[\s\S]*-0\.1",
)
case(
    "diag NaN, checked",
    lambda: normal(diag=NAN, validate_args=True),
    tf.errors.InvalidArgumentError,
    r"cov_diag must not be negative[\s\S]*nan",
)
for kind, make in (("dense", normal), ("features", through_features)):
    case(f"{kind}: value of 5", lambda m=make: m().log_prob(tf.zeros([2, 5])), V, r"value .*6.*got \(2, 5\)")
    case(f"{kind}: value of 1", lambda m=make: m().log_prob(tf.zeros([2, 1])), V, r"value .*6.*got \(2, 1\)")
    case(f"{kind}: value is a scalar", lambda m=make: m().log_prob(0.0), V, r"value .*6.*got \(\)")
    case(f"{kind}: value's batch", lambda m=make: m().log_prob(tf.zeros([3, 6])), V, r"value .*\(3, 6\).*batch")
    case(f"{kind}: noise_posterior of 5", lambda m=make: m().noise_posterior(tf.zeros([2, 5])), V, r"value .*6.*got \(2, 5\)")
    case(f"{kind}: residual of 5", lambda m=make: m().standardized_residual(tf.zeros([2, 5])), V, r"value .*6.*got \(2, 5\)")
    case(f"{kind}: noise of rank 4", lambda m=make: m().sample_from_noise(tf.zeros([2, 4])), V, r"factor_noise .*3.*got \(2, 4\)")
    case(
        f"{kind}: pixel noise of 5",
        lambda m=make: m().sample_from_noise(tf.zeros([2, 3]), tf.zeros([2, 5])),
        V,
        r"diag_noise .*6.*got \(2, 5\)",
    )
    case(f"{kind}: mask of 5", lambda m=make: m().condition([True] * 5, tf.zeros([6])), V, r"mask .*6.*got \(5,\)")
    case(f"{kind}: mask of numbers", lambda m=make: m().condition([1.0] * 6, tf.zeros([6])), V, r"mask must be bool.*float")
    case(f"{kind}: painted value of 5", lambda m=make: m().condition([True] * 6, tf.zeros([5])), V, r"value .*6.*got \(5,\)")
    case(
        f"{kind}: observation noise < 0",
        lambda m=make: m().condition([True] * 6, tf.zeros([6]), -0.5),
        V,
        r"noise_variance must be finite and >= 0, got -0\.5",
    )
    case(
        f"{kind}: observation noise NaN",
        lambda m=make: m().condition([True] * 6, tf.zeros([6]), NAN),
        V,
        r"noise_variance must be finite and >= 0, got nan",
    )
    case(f"{kind}: row 6", lambda m=make: m().covariance_row(6), V, r"index .*\[0, 6\).*got 6")
    case(f"{kind}: row -1", lambda m=make: m().covariance_row(-1), V, r"index .*\[0, 6\).*got -1")
    case(f"{kind}: row 1.5", lambda m=make: m().covariance_row(1.5), V, r"index .*integer.*1\.5")
    case(f"{kind}: rows", lambda m=make: m().covariance_row([0, 1]), V, r"index .*scalar.*\(2,\)")
    case(f"{kind}: entry 6", lambda m=make: m().marginal([0, 6]), V, r"indices .*\[0, 6\).*got 6")
    case(f"{kind}: no list", lambda m=make: m().marginal(1), V, r"indices must be \[K\], got shape \(\)")
    case(f"{kind}: scales of 4", lambda m=make: m().scale_components(tf.ones([4])), V, r"scales .*3.*got \(4,\)")
case("kernel of other features", lambda: through_features(kernel=(5, 2, 3)), V, r"features .*kernel")
case("kernel of rank 0", lambda: through_features(kernel=(4, 2, 0)), V, r"kernel.*R >= 1.*\(4, 2, 0\)")
case("kernel of a matrix", lambda: through_features(kernel=(4, 3)), V, r"kernel must .*F, C, R.*got")
case("features of other pixels", lambda: through_features((2, 4, 4)), V, r"features x kernel.*8.*6")
case("row_scale of 5", lambda: through_features(row_scale=tf.ones([5])), V, r"row_scale.*5.*6")
case(
    "in a graph: value of 5",
    lambda: tf.function(lambda x: normal().log_prob(x))(tf.zeros([2, 5])),
    V,
    r"value .*6.*got \(2, 5\)",
)


# --- Layers and losses ---

for name, given, pattern in (
    ("rank 0", {"rank": 0}, r"rank must be a positive integer, got 0"),
    ("rank 2.5", {"rank": 2.5}, r"rank must be a positive integer, got 2\.5"),
    ("rank True", {"rank": True}, r"rank must be a positive integer, got True"),
    ("channels 0", {"channels": 0}, r"channels must be a positive integer, got 0"),
    ("channels -1", {"channels": -1}, r"channels must be a positive integer, got -1"),
    ("epsilon 0", {"epsilon": 0}, r"epsilon must be a finite positive variance, got 0"),
    ("epsilon NaN", {"epsilon": NAN}, r"epsilon must be a finite positive variance, got nan"),
    ("epsilon text", {"epsilon": "x"}, r"epsilon must be a finite positive variance, got 'x'"),
    ("noise", {"noise": "none"}, r"noise must be one of .*fixed.*got 'none'"),
    ("factor_scale", {"factor_scale": "x"}, r"factor_scale must be one of .*kernel.*got 'x'"),
    ("factor_initial 0", {"factor_initial": 0.0}, r"factor_initial must be finite and positive, got 0"),
    ("factor_initial text", {"factor_initial": "x"}, r"factor_initial must be .*positive, got 'x'"),
    ("float16", {"dtype": "float16"}, r"dtype must be 'float32' or 'float64', .*got 'float16'"),
    ("mixed precision", {"dtype": "mixed_bfloat16"}, r"dtype must be 'float32' or .*got 'mixed_bfloat16'"),
    ("standardize text", {"standardize": "x"}, r"standardize must be True, False or None, got 'x'"),
    ("mean_initial NaN", {"mean_initial": NAN}, r"mean_initial must be finite, got nan"),
):
    case(f"head: {name}", lambda g=given: LowRankNormalHead(**{"channels": 2, **g}), V, pattern)
for name, given, targets, pattern in (
    ("of a head in units of its own", {"noise": "fixed"}, np.ones([3, 2]), r"adapt needs .*standardize=True.*noise='fixed'"),
    ("to NaN", {}, np.full([3, 2], NAN), r"targets must be finite, got NaN"),
    ("to other channels", {}, np.ones([4, 3]), r"targets must be .*2 channels last, got shape \(4, 3\)"),
    ("to a scalar", {}, np.ones([]), r"targets must be .*2 channels last, got shape \(\)"),
    ("to no rows", {}, np.ones([0, 2]), r"targets must be .*2 channels last, got shape \(0, 2\)"),
    ("to no batch", {}, iter(()), r"targets must hold at least one example, got none"),
    ("to x and y", {}, [(np.ones([3, 1]), np.ones([3, 2]))].__iter__(), r"targets must be .*alone, got a tuple.*map"),
):
    case(f"head: adapt {name}", lambda g=given, t=targets: LowRankNormalHead(2, rank=R, **g).adapt(t), V, pattern)
case("head: features of rank 1", lambda: LowRankNormalHead(2)(tf.zeros([4])), V, r"features must be \[B, \.\.\., F\]")
case("head: unknown features", lambda: LowRankNormalHead(2).build((None, 3, None)), V, r"features must be .*static F.*None")
case("head: no features", lambda: LowRankNormalHead(2)(tf.zeros([2, 3, 0])), V, r"features must be .*F >= 1.*0")
case("stock head: closed form", lambda: sv.layers.StockLowRankNormalHead(2, factor_scale="closed_form"), V, r"factor_scale must be one of \('kernel', 'log_scale'\), got 'closed_form'")
case("independent head: float16", lambda: IndependentNormalHead(2, dtype="float16"), V, r"dtype must be 'float32' or 'float64', .*got 'float16'")
case("loss: mixing_rate", lambda: sv.losses.NegativeLogLikelihood(mixing_rate=-1), V, r"mixing_rate must be a finite number >= 0, got -1")
case("independent head: epsilon", lambda: IndependentNormalHead(2, epsilon=-1), V, r"epsilon must .*positive.*-1")


@functools.cache
def regression():
    network = keras.Sequential(
        [keras.Input((3, 4)), LowRankNormalHead(2, rank=2, noise="fixed", epsilon=0.1)]
    )
    network.compile("sgd", loss=sv.losses.NegativeLogLikelihood())
    return network


case("loss: target of 5 entries", lambda: sv.losses.NegativeLogLikelihood()(tf.zeros([2, 5]), normal()), V, r"y_true \(2, 5\) must have as many numbers an example.*it has 5, the output 6")
case("loss: another batch", lambda: sv.losses.NegativeLogLikelihood()(tf.zeros([3, 6]), normal()), V, r"y_true \(3, 6\) has 3 examples, but y_pred has batch \(2,\)")
case("loss: prediction is a tensor", lambda: sv.losses.NegativeLogLikelihood()(tf.zeros([2, 6]), tf.zeros([2, 6])), V, r"needs a model whose output is a distribution.*Head.*y_pred is EagerTensor")
case("loss: weights of 3", lambda: sv.losses.NegativeLogLikelihood()(tf.zeros([2, 6]), normal(), tf.ones([3])), V, r"sample_weight \(3,\) must be one number for each of the 2 examples")
case("regression: target of 5 entries", lambda: regression().fit(np.zeros([2, 3, 4]), np.zeros([2, 5]), verbose=0), V, r"y_true .*it has 5, the output 6")


# --- Constraints, the model, its data ---

for name, given, pattern in (
    ("target NaN", {"target": NAN}, r"target must be finite, got nan"),
    ("target text", {"target": "x"}, r"target must be finite, got 'x'"),
    ("rate < 0", {"rate": -1}, r"rate must be finite and >= 0, got -1"),
    ("damping inf", {"damping": float("inf")}, r"damping must be finite and >= 0, got inf"),
    ("kind", {"kind": "lower_bound"}, r"kind must be one of .*equality.*got 'lower_bound'"),
    ("multiplier < 0", {"initial_multiplier": -1.0}, r"initial_multiplier must be >= 0.*-1"),
    ("multiplier NaN", {"initial_multiplier": NAN}, r"initial_multiplier must be .*nan"),
    ("ramp alone", {"ramp_updates": 3}, r"initial_target and ramp_updates.*None and 3"),
    ("ramp from NaN", {"initial_target": NAN, "ramp_updates": 3}, r"initial_target must be finite, got nan"),
):
    case(f"constraint: {name}", lambda g=given: sv.Constraint(**{"name": "kl", "target": 3.0, **g}), V, pattern)


def head(**options):
    return LowRankNormalHead(2, rank=R, **{"noise": "fixed", "epsilon": 0.01, **options})


def make(constraints=(), **options):
    return small_vae.make(head(), constraints=constraints, **options)


@functools.cache
def networks():
    encoder = keras.Sequential(
        [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2 * L)]
    )
    decoder = keras.Sequential(
        [keras.Input((L,)), keras.layers.Dense(6 * 5 * 3), keras.layers.Reshape((6, 5, 3)), head()]
    )
    return encoder, decoder


def dense(inputs, outputs):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])


def vae(encoder=None, decoder=None, **options):
    own = networks()
    return sv.StructuredVAE(encoder or own[0], decoder or own[1], **options)


def kl(target=3.0, **options):
    return sv.Constraint("kl", target, **options)


case("model: KL target < 0", lambda: make([kl(-1.0)]), V, r"kl_target = -1 .*>= 0")
case("model: entropy target below the floor", lambda: make([sv.Constraint("entropy", -1e4)]), V, r"entropy_target = -10000.*at least -")
case("model: two of a kind", lambda: make([kl(), kl()]), V, r"constraints must name different.*'kl', 'kl'")
case("model: unknown quantity", lambda: make([sv.Constraint("sharpness", 1.0)]), V, r"constraints must name .*'kl'.*'sharpness'")
case("model: constraint is a number", lambda: make([3.0]), TypeError, r"constraints must be .*Constraint.*got 3\.0")
case("model: samples 0", lambda: make(samples=0), V, r"samples must be a positive integer, got 0")
case("model: samples 1.5", lambda: make(samples=1.5), V, r"samples must be a positive integer, got 1\.5")
case("model: pretrain_steps -1", lambda: make(pretrain_steps=-1), V, r"pretrain_steps must be .*at least 0, got -1")
case("model: pretrain_variance 0", lambda: make(pretrain_variance=0.0), V, r"pretrain_variance must be .*> 0, got 0")
case("model: mixing_rate NaN", lambda: make(mixing_rate=NAN), V, r"mixing_rate must be .*>= 0.*got nan")
case("model: accumulate 0", lambda: make(accumulate=0), V, r"accumulate must be a positive integer, got 0")
case("model: encoder emits 7", lambda: vae(dense(4, 7)), V, r"encoder must emit .*even.*7")
case("model: encoder is no network", lambda: vae(encoder=len), TypeError, r"encoder must be a keras\.Model.*got <built-in function len>")
case("model: decoder of other latents", lambda: vae(decoder=dense(L + 1, 3)), V, r"decoder must take latents \[B, 3\].*\(None, 4\)")
case("model: decoder without a head", lambda: vae(decoder=dense(L, N)), V, r"decoder must end in .*head.*got .*Dense")
case("model: decoder of other images", lambda: small_vae.make(LowRankNormalHead(3, rank=R)), V, r"decoder must emit .*60.*90")


@functools.cache
def compiled():
    model = make()
    model.compile(keras.optimizers.SGD(0.0))
    return model


def images(count=4, shape=SHAPE, dtype=np.float32):
    return np.full([count, *shape], 0.5, dtype)


def spoilt():
    x = images()
    x[2, 1, 1, 0] = NAN
    return x


def data(x, batch=2):
    return tf.data.Dataset.from_tensor_slices(x).batch(batch)


for method in ("fit", "evaluate", "predict"):

    def run(x, method=method):
        return getattr(compiled(), method)(x, verbose=0)

    case(f"{method}: bytes", lambda r=run: r(images(dtype=np.uint8)), V, r"images must be floating-point.*got uint8")
    case(f"{method}: another size", lambda r=run: r(images(shape=(6, 4, 2))), V, r"images must be \[B, 6, 5, 2\], got .*6, 4, 2")
    case(f"{method}: without channels", lambda r=run: r(images(shape=(6, 5))), V, r"images must be \[B, 6, 5, 2\], got .*6, 5")
    case(f"{method}: no images", lambda r=run: r(images(0)), V, r"images must be .*at least one.*got .*0, 6, 5, 2")
    case(f"{method}: NaN", lambda r=run: r(spoilt()), V, r"images must be finite, image 2 ")
    case(f"{method}: set of another size", lambda r=run: r(data(images(shape=(6, 4, 2)))), V, r"images must be \[B, 6, 5, 2\], got .*6, 4, 2")
    case(f"{method}: set of bytes", lambda r=run: r(data(images(dtype=np.uint8))), V, r"images must be floating-point.*got uint8")
    case(f"{method}: nothing", lambda r=run: r(None), V, r"x must be images \[B, 6, 5, 2\], .*got None")
    case(f"{method}: two arrays", lambda r=run: r((images(), images())), V, r"x must be one array of images, got a tuple of 2 \(ndarray, ndarray\)")
    case(f"{method}: a dictionary", lambda r=run: r({"image": images()}), V, r"x must be one array of images, got a dict of 1")
    case(f"{method}: 0 to 255", lambda r=run: r(255.0 * images()), V, r"images must be numbers of order one.*divide bytes by 255; image 0 \(from 0\) has 127\.5")
    case(f"{method}: set of 0 to 255", lambda r=run: r(data(255.0 * images())), V, r"images must be numbers of order one.*divide bytes by 255; a batch has")
    case(f"{method}: generator of 0 to 255", lambda r=run: r((255.0 * images(),) for _ in range(2)), V, r"images must be numbers of order one.*divide bytes by 255")
    case(f"{method}: generator of bytes", lambda r=run: r((images(dtype=np.uint8),) for _ in range(2)), V, r"images must be floating-point.*got uint8")
    case(f"{method}: empty set", lambda r=run: r(data(images()).take(0)), V, r"images must be .*at least one")
case("fit: NaN in a set", lambda: compiled().fit(data(spoilt()), verbose=0), FloatingPointError, r"loss is nan.*images.*learning rate")
case("fit: set without batches", lambda: compiled().fit(tf.data.Dataset.from_tensor_slices(images()), verbose=0), V, r"images must be \[B, 6, 5, 2\], got \(6, 5, 2\)")
case("fit: set of pairs in a tuple", lambda: compiled().fit(tf.data.Dataset.from_tensors(((images(), images()),)), verbose=0), V, r"x must be one array of images, got a tuple of 2")
for name, value in {"loss": "mse", "loss_weights": [1.0], "metrics": ["mse"], "weighted_metrics": ["mse"]}.items():
    case(f"compile: {name}", lambda n=name, v=value: make().compile("sgd", **{n: v}), V, rf"{name} must be None, got .*loss of its own")
case("compile: loss by place", lambda: make().compile("sgd", sv.losses.NegativeLogLikelihood()), V, r"loss must be None, got .*NegativeLogLikelihood")
case("fit: not compiled", lambda: make().fit(images(), verbose=0), V, r"compile")
case("encode: another size", lambda: compiled().encode(images(shape=(6, 4, 2))), V, r"images must be \[B, 6, 5, 2\], got .*6, 4, 2")
case("encode: one image", lambda: compiled().encode(images()[0]), V, r"images must be \[B, 6, 5, 2\], got .*6, 5, 2")
case("decode: other latents", lambda: compiled().decode(tf.zeros([2, L + 1])), V, r"latents must be \[B, 3\], got \(2, 4\)")
case("decode: one latent", lambda: compiled().decode(tf.zeros([L])), V, r"latents must be \[B, 3\], got \(3,\)")


# --- Networks ---


def encoder(**given):
    settings = {"image_shape": (8, 8, 1), "latent_dim": 2, "stem": 2, "stages": ((2, 2),)}
    return sv.networks.residual_encoder(**{**settings, **given})


def decoder(**given):
    settings = {
        "image_shape": (8, 8, 1), "latent_dim": 2, "head": LowRankNormalHead(1, rank=2),
        "stages": ((2, 2),), "hidden": 2,
    }
    return sv.networks.residual_decoder(**{**settings, **given})


for name, network in (("encoder", encoder), ("decoder", decoder)):
    case(f"{name}: two dimensions", lambda n=network: n(image_shape=(8, 8)), V, r"image_shape must be \(H, W, C\).*\(8, 8\)")
    case(f"{name}: size 0", lambda n=network: n(image_shape=(8, 0, 1)), V, r"image_shape must be .*\(8, 0, 1\)")
    case(f"{name}: latent_dim 0", lambda n=network: n(latent_dim=0), V, r"latent_dim must be a positive integer, got 0")
    case(f"{name}: no stages", lambda n=network: n(stages=()), V, r"stages must be .*\(filters, stride\).*\(\)")
    case(f"{name}: stride 0", lambda n=network: n(stages=((2, 0),)), V, r"stages must be .*\(\(2, 0\),\)")
    case(f"{name}: norm", lambda n=network: n(norm="layer"), V, r"norm must be one of .*batch.*got 'layer'")
    case(f"{name}: activation", lambda n=network: n(activation="rilu"), V, r"rilu")
    case(f"{name}: hidden -1", lambda n=network: n(hidden=-1), V, r"hidden must be a positive integer.*-1")
case("encoder: stem 0", lambda: encoder(stem=0), V, r"stem must be a positive integer, got 0")
case("encoder: pool", lambda: encoder(pool="min"), V, r"pool must be one of .*flatten.*got 'min'")
case("decoder: upsample", lambda: decoder(upsample="cubic"), V, r"upsample must be one of .*nearest.*got 'cubic'")
