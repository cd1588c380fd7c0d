"""Whether a training run fits into memory, and how long it takes: measured before it starts."""

from tf_structvae.training.preflight.decision import check, pipeline_rate
from tf_structvae.training.preflight.measurement import Measurement, measure

__all__ = ["Measurement", "check", "measure", "pipeline_rate"]
