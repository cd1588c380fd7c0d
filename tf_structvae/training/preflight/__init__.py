"""Whether a training run fits into memory, and how long it takes: asked before it starts."""

from tf_structvae.training.preflight.decision import check, pipeline_rate
from tf_structvae.training.preflight.measurement import Measurement, measure
from tf_structvae.training.preflight.prediction import Prediction, predict

__all__ = ["Measurement", "Prediction", "check", "measure", "pipeline_rate", "predict"]
