"""Times the exports of the arms of benchmarks/pretrained.py."""

from typing import Dict

from benchmarks import deployment_formats
from benchmarks import pretrained_arms
from benchmarks import pretrained_models
from benchmarks import timing
from tf_tokenlearner import backbones


def measure(plain: backbones.Classifier, pooler: str,
            rounds: int) -> Dict[str, Dict[str, float]]:
  """Returns {arm: {export format: milliseconds per picture}}.

  Weights do not change the time, so the networks are not trained.

  Args:
    plain: classifier without TokenLearner.
    pooler: the spec's option: what the head sees.
    rounds: timed calls per export.
  """
  exports = {}
  for arm in filter(lambda arm: arm.is_timed, pretrained_arms.ARMS):
    servable = deployment_formats.servable_of(
        pretrained_models.build(plain, arm, pooler))
    exports[arm.name, 'TFLite'] = deployment_formats.tflite_of(servable, 'none')
    exports[arm.name, 'SavedModel'] = deployment_formats.saved_model_of(
        servable, jit_compile=False)
  seconds = timing.interleave(
      {key: export.answer for key, export in exports.items()}, rounds)
  times: Dict[str, Dict[str, float]] = {}
  for (name, export_format), value in seconds.items():
    times.setdefault(name, {})[export_format] = round(1e3 * value, 2)
  return times
