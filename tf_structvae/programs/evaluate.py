"""Table 1 of any number of trained models, and more than the paper measured."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.programs.runner_flags import RunnerFlags, resumable

_WORKDIR = flags.DEFINE_multi_string("workdir", [], "A run's directory; give it several times.")
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "Of each run; best: by the validation ELBO."
)
_IMAGES = flags.DEFINE_integer(
    "images", 2000, "From the prior for each row of Table 1, and at most from the data."
)
_FEATURES = flags.DEFINE_list(
    "features", ["vgg_edge5", "random_cnn"], "Of the distances that are no FID; empty for none."
)
_INCEPTION = flags.DEFINE_string(
    "inception_weights",
    None,
    "For true FID and KID: classify_image_graph_def.pb or inception-2015-12-05.tgz.",
)
_IMPORTANCE_SAMPLES = flags.DEFINE_integer(
    "importance_samples", 50, "Of z for each image, for the bound of log p(x); 0 leaves it out."
)
_IMPORTANCE_IMAGES = flags.DEFINE_integer("importance_images", 500, "Test images for that bound.")
_RESAMPLES = flags.DEFINE_integer("resamples", 20, "Of the bootstrap, for each Frechet distance.")
_SPLIT = flags.DEFINE_enum(
    "reference_split", "test", ["train", "validation", "test"], "The data of the distances."
)
_LATENTS = flags.DEFINE_enum(
    "latents", "prior", ["prior", "posterior"], "Of Table 1: posterior takes training images'."
)
_PRIOR = flags.DEFINE_list(
    "prior",
    ["own"],
    "What z is drawn from, rows for each: own (that of the run), standard_normal, posterior (as "
    "--latents) or, fitted to the run's posteriors, normal, mixture, vamp and flow.",
)
_COMPONENTS = flags.DEFINE_integer("components", 50, "Of a mixture or VampPrior of --prior.", 1)
_OUTPUT = flags.DEFINE_string("output", "runs/evaluation", "Where tables, JSON and picture go.")
_CACHE = flags.DEFINE_string(
    "cache", None, "Where statistics of the data are kept; default reference/ in --output."
)
_PARTS = flags.DEFINE_string(
    "parts", None, "Where the scores of each model are kept; default models/ in --output."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of z and all noise.")
_RUNNER = RunnerFlags()
_FORCE = flags.DEFINE_boolean("force", False, "Compute again what is there.")


def main() -> None:
    from tf_structvae.studies import evaluate, evaluation_features, run_labels
    from tf_structvae.studies.collection import Settings
    from tf_structvae.studies.evaluated_model import Places

    settings = Settings(
        images=_IMAGES.value,
        importance_images=_IMPORTANCE_IMAGES.value,
        importance_samples=_IMPORTANCE_SAMPLES.value,
        resamples=_RESAMPLES.value,
        reference_split=_SPLIT.value,
        seed=_SEED.value,
        latents=_LATENTS.value,
        priors=tuple(_PRIOR.value),
        components=_COMPONENTS.value,
    )
    chosen = run_labels.check_runs(_WORKDIR.value, _CHECKPOINT.value)
    named = (tuple(_FEATURES.value), _INCEPTION.value)
    try:
        networks = evaluation_features.extractors(*named)
    except ImportError as error:
        raise ValueError(error) from error
    output = Path(_OUTPUT.value)
    places = Places.within(output, _path(_CACHE.value), _path(_PARTS.value))
    force, runner = _FORCE.value, _RUNNER.given()
    if runner is not None:
        from tf_structvae.studies import dealt_evaluation

        with resumable():
            dealt_evaluation.run(chosen, *named, settings, places, runner, _CHECKPOINT.value, force)
        force = False  # it is all new
    written = evaluate.evaluate(
        chosen, networks, settings, output, places.cache, _CHECKPOINT.value, force, places.parts
    )
    print(f"\n{written.text}\n\ntables    {written.tables}\nnumbers   {written.numbers}")
    if networks:
        print(f"picture   {written.picture}")


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


def run() -> None:
    command.run(main)
