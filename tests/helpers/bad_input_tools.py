"""Rows of the table of bad input: what works on distributions, numbers, runs and exported models."""

# fmt: off

from __future__ import annotations

import functools
import json
import re

import exports
import keras
import numpy as np
import tensorflow as tf
from bad_input_cases import NAN, Table, V

import tf_structvae as sv
from tf_structvae.datasets import Spec
from tf_structvae.distributions import LowRankMultivariateNormal, editing
from tf_structvae.evaluation import (
    calibration,
    estimate,
    features,
    frechet,
    heldout,
    importance,
    inception,
    jackknife,
    kid,
    variance,
)
from tf_structvae.export import export, versions
from tf_structvae.figures import interpolation, pictures, scaling, sheets
from tf_structvae.models import density
from tf_structvae.serving import directory, sockets
from tf_structvae.serving.app import create_app
from tf_structvae.serving.editor.remote import Remote
from tf_structvae.serving.limits import Limits
from tf_structvae.studies import paper, run_labels, targets
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.density import closed_form, pca
from tf_structvae.training import config as config_lib
from tf_structvae.training import workdir as workdir_lib
from tf_structvae.training.experiment import Experiment
from tf_structvae.training.preflight.size import of_network

TABLE = Table()
case = TABLE.add
MISSING = (ValueError, FileNotFoundError)
SHAPE = (4, 3, 1)


def normal():
    return LowRankMultivariateNormal(tf.zeros([1, 12]), tf.ones([1, 12, 3]), 0.1)


@functools.cache
def opened(kind="standard"):
    return sv.load(exports.exported(kind)[1])


def batches(count=8, shape=SHAPE, dtype=np.float32):
    return [np.random.default_rng(0).uniform(size=(count, *shape)).astype(dtype)]


def spoilt():
    x = batches()
    x[0][5, 0, 0, 0] = NAN
    return x


# --- The distribution without a network, targets, closed form ---

for name, given, pattern in (
    ("rank 0", {"rank": 0}, r"rank must be an integer from 1 to 12, got 0"),
    ("rank 13", {"rank": 13}, r"rank must be an integer from 1 to 12, got 13"),
    ("epsilon 0", {"epsilon": 0.0}, r"epsilon must be a finite number > 0, got 0"),
    ("noise", {"noise": "per_pixel"}, r"noise must be one of .*got 'per_pixel'"),
    ("pretrain_steps", {"pretrain_steps": -1}, r"pretrain_steps must be .*got -1"),
    ("two dimensions", {"image_shape": (4, 3)}, r"image_shape must be \(H, W, C\).*\(4, 3\)"),
    ("constraint", {"constraints": [sv.Constraint("kl", 1.0)]}, r"constraints must be .*'entropy'.*'kl'"),
):
    case(f"density: {name}", lambda g=given: density.LowRankDensity(**{"image_shape": SHAPE, "rank": 2, **g}), V, pattern)


def fit_density(data, steps=2, rate=None):
    density.fit(density.LowRankDensity(SHAPE, 2), data, steps, rate)


def dataset(x):
    return tf.data.Dataset.from_tensor_slices(x[0]).batch(4).repeat()


case("density.fit: steps 0", lambda: fit_density(dataset(batches()), 0), V, r"steps must be a positive integer, got 0")
case("density.fit: rate NaN", lambda: fit_density(dataset(batches()), 2, NAN), V, r"learning_rate must be .*got nan")
case("density.fit: another size", lambda: fit_density(dataset(batches(shape=(4, 4, 1)))), V, r"images must be \[B, 4, 3, 1\], got .*4, 4, 1")
case("density.fit: NaN", lambda: fit_density(dataset(spoilt())), FloatingPointError, r"loss is not finite at step \d.*learning_rate")
case("spectrum: no images", lambda: targets.spectrum([]), V, r"spectrum needs at least 2 images, got 0")
case("spectrum: one image", lambda: targets.spectrum(batches(1)), V, r"at least 2 images, got 1")
case("spectrum: bytes", lambda: targets.spectrum(batches(dtype=np.uint8)), V, r"batches must be floating-point.*uint8")
case("spectrum: NaN", lambda: targets.spectrum(spoilt()), V, r"image 5 .*not finite")
case("spectrum: sizes", lambda: targets.spectrum([*batches(), *batches(shape=(4, 4, 1))]), V, r"all images must be of shape \(4, 3, 1\), got \(4, 4, 1\)")
case("spectrum: all alike", lambda: targets.spectrum([np.ones([4, *SHAPE], np.float32)]), V, r"all alike")


@functools.cache
def spectrum():
    return targets.spectrum(batches())


for name, given, pattern in (
    ("rank 0", {"rank": 0}, r"rank = 0: must be"),
    ("rank 99", {"rank": 99}, r"rank = 99: must be"),
    ("epsilon 0", {"epsilon": 0.0}, r"epsilon = 0\.0: must be"),
    ("KL < 0", {"kl_target": -1.0}, r"kl_target = -1.*>= 0"),
    ("KL NaN", {"kl_target": NAN}, r"kl_target = nan.*>= 0"),
    ("rank_share 2", {"rank_share": 2.0}, r"rank_share = 2\.0: must be"),
    ("latent_share 0", {"latent_share": 0.0}, r"latent_share = 0\.0: must be"),
):
    case(f"suggest: {name}", lambda g=given: targets.suggest(spectrum(), **g), V, pattern)
case("targets.check: entropy", lambda: targets.check(None, -1e9, SHAPE, 0.1), V, r"entropy_target = -1000000000.*at least")
case("entropy_floor: epsilon", lambda: targets.entropy_floor(SHAPE, -1.0), V, r"epsilon = -1\.0: must be a finite number > 0")
case("components: rank 0", lambda: closed_form.leading_components(batches, 0), V, r"rank = 0: must be")
case("components: rank 99", lambda: closed_form.leading_components(batches, 99), V, r"rank = 99: must be")
case("components: no images", lambda: closed_form.leading_components(lambda: [], 1), V, r"at least 2 images, got 0")
case("components: NaN", lambda: closed_form.leading_components(spoilt, 1), V, r"image 5 .*not finite")
case("optimum: epsilon 0", lambda: closed_form.optimum(closed_form.leading_components(batches, 2), 0.0), V, r"epsilon = 0\.0: must be")
case("shrinkage: budget", lambda: closed_form.shrinkage(np.ones(3), 0.1, -1.0), V, r"entropy_budget = -1.*must be")
case("angles: shapes", lambda: closed_form.principal_angles(np.ones([3, 2]), np.ones([4, 2])), V, r"K <= N, got \(3, 2\) and \(4, 2\)")
case("pca: rank 0", lambda: pca.fit(batches(), 0), V, r"rank = 0: must be a positive integer")
case("pca: rank 99", lambda: pca.fit(batches(), 99), V, r"rank = 99: must be at most 8")


# --- Editing and figures ---


def edits(**given):
    return editing.parse_edits([{"pixel": [0, 0], "colour": 0.5, **given}], SHAPE)


case("slerp: sizes", lambda: editing.slerp(tf.ones([3]), tf.ones([4]), 0.5), V, r"a and b must be .*\(3,\).*\(4,\)")
case("slerp: scalars", lambda: editing.slerp(1.0, 2.0, 0.5), V, r"a and b must be \[\.\.\., R\].*\(\)")
case("slerp_grid: 3 corners", lambda: editing.slerp_grid(tf.ones([3, 2]), 2, 2), V, r"corners must be \[\.\.\., 4, R\], got \(3, 2\)")
case("slerp_grid: one row", lambda: editing.slerp_grid(tf.ones([4, 2]), 1, 2), V, r"rows must be at least 2, got 1")
case("edits: none", lambda: editing.parse_edits([], SHAPE), V, r"edits must be a list of at least one.*\[\]")
case("edits: text", lambda: editing.parse_edits("x", SHAPE), V, r"edits must be a list.*'x'")
case("edits: field", lambda: edits(color=1), V, r"edits\[0\] must be an object with pixel and colour.*'color'")
case("edits: outside", lambda: edits(pixel=[4, 0]), V, r"edits\[0\]\.pixel must be .*4x3.*\[4, 0\]")
case("edits: colour 2", lambda: edits(colour=2), V, r"edits\[0\]\.colour must be .*\[0, 1\].*got 2")
case("edits: colour NaN", lambda: edits(colour=NAN), V, r"edits\[0\]\.colour must be .*nan")
case("edits: brush -1", lambda: edits(brush=-1), V, r"edits\[0\]\.brush must be .*>= 0, got -1")
case("edit_sequence: another size", lambda: editing.edit_sequence(normal(), edits(), (4, 4, 1)), V, r"image_shape .*12.*\(4, 4, 1\)")
case("edit_sequence: independent", lambda: editing.edit_sequence(exports.exported("standard")[0].decode(tf.zeros([1, 3])), edits(), (6, 5, 2)), TypeError, r"p must be a low-rank or local normal, got")
case("to_images: another size", lambda: pictures.to_images(np.zeros([2, 12]), (4, 4, 1)), V, r"image_shape .*12.*\(4, 4, 1\)")
case("covariance: outside", lambda: pictures.covariance_to_pixel(normal(), SHAPE, (4, 0)), V, r"pixel .*4x3.*\(4, 0\)")
case("grid: no columns", lambda: pictures.grid(np.zeros([2, 3, 3, 3]), 0), V, r"columns must be .*got 0")
case("panels: no columns", lambda: sheets.panels([("a", np.zeros([2, 3, 3, 3]))], 0, ""), V, r"columns must be .*got 0")
case("interpolations: rank", lambda: interpolation.interpolations(normal(), tf.ones([1, 4, 2]), SHAPE), V, r"factor_noise .*3.*got")
case("scaled: rank", lambda: scaling.scaled_components(normal(), np.ones(2), SHAPE), V, r"noise must be \[3\].*\(2,\)")
case("figures: number", lambda: paper.check_numbers([99]), V, r"figure must be one of .*got 99")


# --- Evaluation ---

case("moments: NaN", lambda: frechet.Moments.of(np.full([3, 2], NAN)), V, r"features must be finite; those of 3 of 3")
case("moments: none", lambda: frechet.Moments.of(np.zeros([0, 2])), V, r"features must be \[B, F\].*\(0, 2\)")
case("moments: vector", lambda: frechet.Moments.of(np.zeros([3])), V, r"features must be \[B, F\].*\(3,\)")
case("moments: no batches", lambda: frechet.Moments.of_batches([]), V, r"no batches of features")
case("frechet: sizes", lambda: frechet.frechet_distance(*(frechet.Moments.of(np.eye(n)) for n in (3, 4))), V, r"different sizes: 3 and 4")
case("frechet: one sample", lambda: frechet.frechet_distance(*[frechet.Moments.of(np.ones([1, 2]))] * 2), V, r"at least 2 samples, got 1")
case("frechet of features: sizes", lambda: frechet.frechet_distance_of_features(np.eye(3), np.eye(4)), V, r"different sizes: 3 and 4")
case("frechet of features: NaN", lambda: frechet.frechet_distance_of_features(np.full([3, 2], NAN), np.ones([3, 2])), V, r"features must be finite")
case("kid: few", lambda: kid.kernel_distance(np.ones([3, 2]), np.ones([3, 2])), V, r"at least 20 images, got 3")
case("kid: sizes", lambda: kid.kernel_distance(np.ones([30, 2]), np.ones([30, 3])), V, r"features must be .*\(30, 2\) and \(30, 3\)")
case("kid: subset", lambda: kid.kernel_distance(np.ones([30, 2]), np.ones([30, 2]), subset=1), V, r"subset must be >= 2.*got 1")
case("kid: NaN", lambda: kid.kernel_distance(np.full([30, 2], NAN), np.ones([30, 2])), V, r"features must be finite")
case("mmd: one", lambda: kid.squared_mmd(np.ones([1, 2]), np.ones([3, 2])), V, r"at least 2 .*1")
case("features: name", lambda: features.extractor("alexnet"), V, r"features must be one of .*got 'alexnet'")
case("features: bytes", lambda: features.extractor("random_cnn")(np.zeros([2, 16, 16, 3], np.uint8)), V, r"images must be floats in \[0, 1\], got uint8")
case("features: rank 3", lambda: features.extractor("random_cnn")(np.zeros([16, 16, 3], np.float32)), V, r"images must be \[B, H, W, 1 or 3\], got \(16, 16, 3\)")
case("inception: missing", lambda: inception.extractor("/nowhere/graph.pb"), FileNotFoundError, r"inception_weights: /nowhere/graph\.pb does not exist")
case("inception: another file", lambda folder: inception.extractor(_touch(folder / "x.h5")), V, r"inception_weights must end in .*x\.h5")
case("inception: no graph", lambda folder: inception.extractor(_touch(folder / "x.pb")), V, r"inception_weights .*x\.pb")
case("importance: samples 0", lambda: importance.log_likelihood(None, [], 0), V, r"samples must be at least 1, got 0")
case("importance: no images", lambda: importance.log_likelihood(None, []), V, r"at least one image, got none")
case("calibration: no images", lambda: calibration.calibration(None, []), V, r"at least one image, got none")
case("variance: one image", lambda: jackknife.BlockVariance.of_batches(batches(1)).estimate(), V, r"at least 2 images, got 1")
case("variance: none", lambda: jackknife.BlockVariance().estimate(), V, r"at least 2 images, got 0")
case("variance shares: none", lambda: variance.variance_shares([]), V, r"at least one")
case("held out: no images", lambda: heldout.held_out(exports.exported("low_rank")[0], []), V, r"at least one image")
case("autocorrelation: rank 2", lambda: heldout.lag1_autocorrelation(np.zeros([3, 4])), V, r"fields must be .*\(3, 4\)")
case("estimate: none", lambda: estimate.Estimate.of(np.zeros([0])), V, r"at least one")
for name, given, pattern in (
    ("images 0", {"images": 0}, r"images must be at least \d+, got 0"),
    ("resamples 0", {"resamples": 0}, r"resamples must be at least \d+, got 0"),
    ("samples -1", {"importance_samples": -1}, r"importance_samples must be at least 0, got -1"),
    ("latents", {"latents": "x"}, r"latents must be one of .*got 'x'"),
    ("split", {"reference_split": "x"}, r"split must be one of .*got 'x'"),
    ("seed -1", {"seed": -1}, r"seed must be .*got -1"),
):
    case(f"evaluate: {name}", lambda g=given: Settings(**g), V, pattern)
case("evaluate: no run", lambda: run_labels.check_runs([], "last"), V, r"workdir is missing")
case("evaluate: twice", lambda: run_labels.check_runs(["a", "a"], "last"), V, r"workdir a is given more than once")
case("evaluate: not there", lambda: run_labels.check_runs(["/nowhere"], "last"), FileNotFoundError, r"workdir /nowhere holds no run")


def _touch(path):
    path.write_bytes(b"no network")
    return path


# --- Runs and configs ---


def broken(folder, text):
    (folder / "config.json").write_text(text)
    return folder


case("run: missing", lambda: Experiment.load("/nowhere"), FileNotFoundError, r"workdir /nowhere holds no run")
case("run: no JSON", lambda folder: Experiment.load(broken(folder, "{")), V, r"config\.json .*is not JSON")
case("run: field of another kind", lambda folder: Experiment.load(broken(folder, '{"seed": "x"}')), V, r"config\.json .*seed|config\.json .*str")
case("run: which checkpoint", lambda folder: Experiment.load(broken(folder, config_lib.default().to_json()), "worst"), V, r"checkpoint must be 'last' or 'best', got 'worst'")
case("run: of a newer kind", lambda folder: Experiment.load(broken(folder, json.dumps({"seed": -1}))), V, r"config\.seed = -1: must be")
for name, text, pattern in (
    ("unknown field", '{"model": {"rnak": 5}}', r"config\.json is no config of this version:\nconfig\.model\.rnak: no such field; is rank meant\?"),
    ("no group", '{"model": 3}', r"config\.json is no config of this version"),
    ("no dict", "[1, 2]", r"config\.json is no config of this version"),
):
    case(f"run: {name}", lambda folder, t=text: Experiment.load(broken(folder, t)), V, pattern)
    case(f"resume: {name}", lambda folder, t=text: workdir_lib.check(broken(folder, t), config_lib.default(), resume=True), V, pattern)
case("resume: no run", lambda folder: workdir_lib.check(folder / "run", config_lib.default(), resume=True), V, r"workdir .*/run holds no run to go on with\. To begin one, leave out --resume")
case("resume: no JSON", lambda folder: workdir_lib.check(broken(folder, "{"), config_lib.default(), resume=True), V, r"config\.json is not JSON")
case("evaluate: no JSON", lambda folder: run_labels.check_runs([broken(folder, "{")], "last"), V, r"config\.json is not JSON")


def changed(change):
    c = config_lib.default()
    change(c)
    config_lib.validate(c)


case("config: misspelt field", lambda: changed(lambda c: c.model.update(rnak=5)), V, r"config\.model\.rnak: no such field; is rank meant\?")
case("config: unlike any field", lambda: changed(lambda c: c.update(zzz=5)), V, r"config\.zzz: no such field$")
case("config: field taken away", lambda: changed(lambda c: delattr(c.train, "steps")), V, r"config\.train\.steps: missing")
case("config: no group", lambda: changed(lambda c: setattr(c, "model", None)), V, r"config\.model = None: must be a ConfigDict")
case("workdir: a file", lambda folder: workdir_lib.check(_touch(folder / "x"), config_lib.default()), (OSError, ValueError), r"workdir .*/x ")

for path, value, allowed in (
    ("name", "a/b", "letters"),
    ("seed", -1, "an integer >= 0"),
    ("seed", True, "an integer >= 0"),
    ("data.name", "faces", "data set must be one of"),
    ("data.image_size", (16,), "image_size must be"),
    ("data.background", "whit", "background"),
    ("data.nifti.axis", "up", "nifti.axis must be 'axial' for avatars"),
    ("data.limit", -1, "an integer >= 0"),
    ("data.shift", -1, "an integer >= 0"),
    ("model.likelihood", "poisson", "one of low_rank"),
    ("model.latent_dim", 0, "a positive integer"),
    ("model.rank", 0, "a positive integer"),
    ("model.rank", True, "an integer >= 0"),
    ("model.rank", -1, "an integer >= 0"),
    ("model.radius", -1, "an integer >= 0"),
    ("model.bound", 1.0, "a number between 0 and 1"),
    ("model.epsilon", 0.0, "a finite number > 0"),
    ("model.epsilon", NAN, "a finite number > 0"),
    ("model.factor_initial", 0.0, "a finite number > 0"),
    ("model.mean_initial", NAN, "a finite number"),
    ("model.norm", "layer", "one of batch"),
    ("model.activation", "rilu", "activation"),
    ("model.encoder.stages", (), "a tuple of"),
    ("model.decoder.stages", ((4, 0),), "a tuple of"),
    ("model.encoder.pool", "min", "one of flatten"),
    ("objective.kl_target", -1.0, "None or a finite number >= 0"),
    ("objective.entropy_budget", -1.0, "None or a finite number >= 0"),
    ("objective.entropy_budget", NAN, "None or a finite number >= 0"),
    ("objective.entropy_target", NAN, "None or a finite number"),
    ("objective.samples", 0, "a positive integer"),
    ("objective.kind", "lower", "one of equality"),
    ("objective.ramp_steps", 5, "0 elsewhere"),
    ("train.steps", 0, "a positive integer"),
    ("train.learning_rate", -0.1, "a finite number > 0"),
    ("train.final_fraction", 2.0, "a number in (0, 1]"),
    ("train.accumulate", 99, "at most train.batch_size"),
    ("train.precision", "float8", "one of float32"),
    ("train.jit", "yes", "True or False"),
    ("evaluation.images", 0, "a positive integer"),
):
    def invalid(path=path, value=value):
        c = config_lib.default()
        c.lock()
        part, names = c, path.split(".")
        for name in names[:-1]:
            part = part[name]
        with part.ignore_type():
            part[names[-1]] = value
        config_lib.validate(c)

    case(f"config.{path} = {value!r}", invalid, V, r"config\.[\s\S]*" + re.escape(allowed))
case("preflight: shape", lambda: of_network(config_lib.default(), (64, 64)), V, r"image_shape must be \(H, W, C\).*\(64, 64\)")


# --- Export and serving ---


def another():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2)(inputs))


def exported(folder, **given):
    return export(exports.exported("low_rank")[0], folder / "m", **given)


case("export: version 0", lambda folder: exported(folder, version=0), V, r"version must be a positive number, got 0")
case("export: version text", lambda folder: exported(folder, version="1"), V, r"version must be a positive number, got '1'")
case("export: no samples", lambda folder: exported(folder, importance_samples=0), V, r"importance_samples must be a positive integer, got 0")
case("export: steps below zero", lambda folder: exported(folder, proposal_steps=-1), V, r"proposal_steps must be an integer of at least 0, got -1")
case("export: half a step", lambda folder: exported(folder, proposal_steps=0.5), V, r"proposal_steps must be an integer of at least 0, got 0.5")
case("export: about", lambda folder: exported(folder, about={"colour": 1}), V, r"about must have keys of .*colour")
case("load: path", lambda folder: sv.load(folder / "nowhere"), FileNotFoundError, r"nowhere is neither a file or directory nor a model")
case("load: kind", lambda folder: sv.load(exports.exported("standard")[1] / "saved_model.pb"), V, r"path must be a directory or a file NAME\.keras, got the file .*saved_model\.pb")
case("load: checkpoint", lambda: sv.load(exports.exported("standard")[1], checkpoint="best"), V, r"checkpoint must be None, got 'best'")
case("loaded: count", lambda: opened().sample(0), V, r"count must be a positive integer, got 0")
case("loaded: seed", lambda: opened().sample(1, seed=2**31), V, r"seed must be an integer below 2\*\*31, got 2147483648")
case("loaded: latents and count", lambda: opened().sample(2, latents=np.zeros([3, 3])), V, r"latents must have count = 2 rows, got 3")
case("loaded: latents", lambda: opened().decode(np.zeros([2, 4])), V, r"latents must be \[B, 3\], got \(2, 4\)")
case("loaded: no latents", lambda: opened().decode(), V, r"latents must be given: .* has 3 of them")
case("loaded: images", lambda: opened().encode(np.zeros([2, 6, 5, 3])), V, r"images must be \[B, 6, 5, 2\], got \(2, 6, 5, 3\)")
case("loaded: no images", lambda: opened().encode(np.zeros([0, 6, 5, 2])), V, r"the number of images must be a positive integer, got 0")
case("loaded: nan", lambda: opened().encode(np.full([2, 6, 5, 2], NAN)), V, r"images must be finite")
case("loaded: both", lambda: opened().condition(np.ones([6, 5]), 0.5, np.zeros([1, 3]), np.zeros([1, 6, 5, 2])), V, r"latents or images must be given, not both")
case("loaded: mask", lambda: opened().condition(np.ones([5, 6]), 0.5, np.zeros([1, 3])), V, r"mask must broadcast to \[1, 6, 5, 1\], got the shape \(5, 6, 1\)")
case("loaded: values", lambda: opened().condition(np.ones([6, 5]), [0.5] * 3, np.zeros([1, 3])), V, r"values must broadcast to \[1, 6, 5, 2\], got the shape \(3,\)")
case("loaded: noise_variance", lambda: opened().condition(np.ones([6, 5]), 0.5, np.zeros([1, 3]), noise_variance=-1.0), V, r"noise_variance must be a number >= 0, got -1\.0")
case("loaded: labels", lambda: opened().sample(1, labels=0), V, r"labels must be None: the export .* has no classes")
case("loaded: no labels", lambda: opened("conditional").sample(1), V, r"labels must be integers from 0 to 3, one or \[1\], got None")
case("loaded: label", lambda: opened("conditional").sample(2, labels=[0, 4]), V, r"labels must be integers from 0 to 3, one or \[2\], got 0 to 4")
case("loaded: type of labels", lambda: opened("conditional").sample(2, labels=[0.5, 1]), V, r"labels must be .*, got float64 of shape \(2,\)")
case("export: license", lambda folder: exported(folder, about={"license": 2}), V, r"about\['license'\] must be a name like 'apache-2\.0', got 2")
case("export: about no JSON", lambda folder: exported(folder, about={"data": {1j}}), V, r"about must be JSON")
case("export: another model", lambda folder: export(another(), folder / "m"), TypeError, r"model must be a StructuredVAE.*got .*Functional")
case("export: version exists", lambda folder: versions.choose_version(_made(folder / "1").parent, 1), FileExistsError, r"version .*/1 exists")
case("export: to a file", lambda folder: export(exports.exported("low_rank")[0], _touch(folder / "x")), (OSError, V), r"/x")


def _made(path):
    path.mkdir(parents=True)
    return path


for name in ("request_bytes", "batch", "response_values", "concurrency", "joined", "seconds"):
    case(f"limits: {name} 0", lambda n=name: Limits(**{n: 0}), V, rf"{name} must be positive, got 0")
    case(f"limits: {name} NaN", lambda n=name: Limits(**{n: NAN}), V, rf"{name} must be .*positive.*got nan")
case("limits: queue -1", lambda: Limits(queue=-1), V, r"queue must not be negative, got -1")
case("server: no model", lambda: create_app({}), V, r"models must .*at least one")
case("server: name", lambda folder: create_app({"a/b": folder}), V, r"'a/b'")
case("server: empty folder", lambda folder: create_app({"m": folder}), V, r"m.*version")
case("server: poll 0", lambda folder: create_app({"m": folder}, poll_seconds=0), V, r"poll_seconds must be .*positive.*got 0")
case("server: directory missing", lambda folder: directory.check(folder / "x"), V, r"/x is no directory of a model")
case("server: directory of a version", lambda folder: directory.check(_touch(_made(folder / "1") / "saved_model.pb").parent), V, r"/1 is a version")
case("server: directory empty", lambda folder: directory.check(folder), V, r"holds no version")
case("server: host", lambda: sockets.bind("no.such.host.invalid", 0), OSError, r"host no\.such\.host\.invalid, port 0")
case("editor: URL", lambda: Remote("localhost:8501", 1.0), V, r"--server must be http://HOST:PORT/v1/models/NAME, got 'localhost:8501'")
case("spec: limit", lambda: Spec("avatars", limit=1.5), V, r"limit must be .*got 1\.5")
