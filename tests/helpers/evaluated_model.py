"""What an evaluation of a model holds."""


def scores(value, error=0.1):
    return {"relative": {"value": value, "standard_error": error}}


def model(recipe, seed, means, samples):
    kinds = {"means": scores(means), "samples": scores(samples)}
    return {"recipe": recipe, "seed": seed, "distances": {"cnn": kinds}}
