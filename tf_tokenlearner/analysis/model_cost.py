"""What a classifier costs, whatever its backbone is."""

import typing
from typing import Sequence, Union

from tf_tokenlearner.analysis import bottleneck_cost
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import transformer_cost
from tf_tokenlearner import errors

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import bottleneck_spec
  from tf_tokenlearner.backbones import specs

Spec = Union['specs.TransformerSpec', 'bottleneck_spec.BottleneckSpec']


def classifier_cost(
    spec: Spec, input_size: Sequence[int], num_classes: int) -> counts.Cost:
  """What a Classifier around the backbone of this spec costs.

  Args:
    spec: of an image or video model; sizes that are None come from its variant.
    input_size: shape of an image or clip.
    num_classes: width of the head; 0 leaves the head out.

  Returns:
    Cost with the rows of the backbone and head (if any).

  Raises:
    UserError: a spec that makes no sense, or num_classes below 0.
  """
  # The package imports TensorFlow. Who has a spec has that behind them.
  from tf_tokenlearner.backbones import bottleneck_spec
  from tf_tokenlearner.backbones import specs
  if num_classes < 0:
    raise errors.UserError(
        f'num_classes must be at least 0, received {num_classes}; 0 leaves the '
        'head out.')
  input_size = tuple(input_size)
  spec = spec.completed(input_size)
  rows = {
      specs.ViTSpec: transformer_cost.vit_rows,
      specs.ViViTSpec: transformer_cost.vivit_rows,
      specs.FactorizedViViTSpec: transformer_cost.factorized_vivit_rows,
      bottleneck_spec.BottleneckSpec: bottleneck_cost.bottleneck_rows,
  }[type(spec)](spec, input_size)
  if num_classes:
    pooled = (spec.inner_width(-1)
              if isinstance(spec, bottleneck_spec.BottleneckSpec)
              else spec.hidden_size)
    rows.append(counts.row('head', [num_classes], counts.dense(
        1, spec.representation_size or pooled, num_classes)))
  return counts.Cost(tuple(rows))
