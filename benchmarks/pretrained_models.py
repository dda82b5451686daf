"""Networks of the arms of benchmarks/pretrained.py, and their cost.

Shapes: B pictures, N patches, S tokens, C channels.
"""

import dataclasses
import functools
import math
from typing import Any, Callable, List, Sequence

import numpy as np
import tensorflow as tf

from benchmarks import pretrained_arms
from benchmarks import pretrained_features
from benchmarks import pretrained_merging
from tf_tokenlearner import backbones
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner.checkpoints import transfer

_NUM_EXAMPLES = 64  # As token_learner_init reads for 256 patches.


def read_plain(weights: str, image_size: int,
               num_classes: int) -> backbones.Classifier:
  """Returns the pretrained network for images of another size."""
  source = pretrained.read(hub_files.read(weights))
  model = backbones.Classifier(
      backbones.VisionTransformer(
          source.backbone.spec, (image_size, image_size, 3)), num_classes)
  transfer.transfer(source, model, 'fresh')
  return model


@dataclasses.dataclass
class Trainable:
  """The trained part of an arm.

  Attributes:
    inputs: float16 or float32 [B, ...], what it sees of every picture.
    logits: function (float32 [b, ...], training) -> [b, 2].
    layers: layers that are trained, first to last.
    model: the classifier whose layers they are.
  """
  inputs: np.ndarray
  logits: Callable[..., tf.Tensor]
  layers: List[Any]
  model: backbones.Classifier

  def variables(self) -> List[tf.Variable]:
    return [v for layer in self.layers for v in layer.trainable_variables]


def make(arm: pretrained_arms.Arm, features: pretrained_features.Features,
         pooler: str, examples: np.ndarray) -> Trainable:
  """Returns the trained part of an arm, with the pretrained weights.

  Args:
    arm: any but ridge.
    features: features of all pictures; prepared for the arm's location.
    pooler: the spec's option: what the head sees.
    examples: numbers of pictures to train on.
  """
  plain = features.model
  model = build(plain, arm, pooler)
  encoder = model.backbone.encoder
  stages = encoder.stages[arm.location:]
  run = _run
  if arm.kind == 'merged':
    inputs = features.read(merged_name(plain, arm.location))
    run = functools.partial(_run_merged, count=merged_count(plain))
  else:
    inputs = features.read(f'tokens_{arm.location}')
  if arm.kind == 'top':
    inputs = pretrained_features.top_tokens(
        inputs, features.read(f'attention_{arm.location}'), arm.num_tokens)
  elif arm.kind == 'pooled':  # Nothing is learned, so it is done once.
    pooling, *stages = stages
    inputs = _in_pieces(pooling, inputs)
  elif arm.start == 'mean':
    spread = np.linspace(0, len(examples) - 1, _NUM_EXAMPLES, dtype=int)
    _start_as_means(stages[0], inputs[examples[spread]])

  def logits(x, training=False):
    x = encoder.norm(run(stages, x, training))
    return model.head(model.backbone.pool(x)['pre_logits'])

  return Trainable(inputs, logits, [*stages, encoder.norm, model.head], model)


def build(plain: backbones.Classifier, arm: pretrained_arms.Arm,
          pooler: str) -> backbones.Classifier:
  """Returns the classifier of an arm, with the weights of the plain one."""
  model = backbones.Classifier(
      backbones.VisionTransformer(
          _spec(plain, arm, pooler), plain.backbone.input_size),
      plain.num_classes)
  transfer.transfer(plain, model, 'fresh')
  return model


def _spec(plain: backbones.Classifier, arm: pretrained_arms.Arm,
          pooler: str) -> backbones.ViTSpec:
  options = {'pooler': pooler}
  if arm.kind in ('learned', 'pooled'):
    options.update(
        token_learner_location=arm.location, num_tokens=arm.num_tokens,
        tokenizer='token_learner' if arm.kind == 'learned' else 'grid_pooling')
  return dataclasses.replace(plain.backbone.spec, **options)


def _run(stages: Sequence[Any], x: tf.Tensor, training: bool) -> tf.Tensor:
  for stage in stages:
    x = stage(x, training=training)
  return x


def _run_merged(stages: Sequence[Any], x: tf.Tensor, training: bool,
                count: int) -> tf.Tensor:
  del training  # The blocks have no dropout.
  x, sizes = x[..., :-1], x[..., -1]
  for block in stages:
    x, sizes = pretrained_merging.run_block(block, x, sizes, count)
  return x


def _in_pieces(function, inputs: np.ndarray, size: int = 128) -> np.ndarray:
  return np.concatenate([
      function(tf.cast(inputs[i:i + size], tf.float32)).numpy()
      for i in range(0, len(inputs), size)])


def _start_as_means(stage, inputs: np.ndarray) -> None:
  """Starts a TokenLearner as task.init_token_learner=mean does."""
  layer = stage.token_learner
  x = layer.norm(
      tf.cast(inputs[:, stage.num_prefix_tokens:], tf.float32)).numpy()
  side = math.isqrt(x.shape[1])
  targets = token_learner_init.pooling_weights(
      (side, side), layer.num_tokens)
  token_learner_init.set_scores(
      layer, x, token_learner_init.fit_scores(x, targets))


def merged_count(plain: backbones.Classifier) -> int:
  """Returns how many tokens each block merges.

  It is the smallest number that costs no more than 8 learned tokens at half of
  the blocks.
  """
  half = plain.backbone.spec.num_layers // 2
  limit = macs(pretrained_arms.Arm('', 'learned', half, 8), plain)
  num_tokens = _num_tokens(plain)
  return next((count for count in range(1, num_tokens)
               if _merged_macs(plain, count) <= limit), num_tokens)


def merged_name(plain: backbones.Classifier, location: int) -> str:
  """Returns the name of the features before a block of the merging model."""
  return f'merged_{location}_{merged_count(plain)}'


def macs(arm: pretrained_arms.Arm, plain: backbones.Classifier,
         pooler: str = 'token') -> int:
  """Returns the multiply-accumulates of an arm, per picture."""
  if arm.kind == 'merged':
    return _merged_macs(plain, merged_count(plain))
  if arm.kind == 'top':  # The block before computes this attention anyway.
    arm = arm._replace(kind='pooled')
  return cost.classifier_cost(
      _spec(plain, arm, pooler), plain.backbone.input_size,
      plain.num_classes).macs


def _merged_macs(plain: backbones.Classifier, count: int) -> int:
  spec = plain.backbone.spec
  blocks = lambda count: pretrained_merging.macs(
      spec.num_layers, _num_tokens(plain), spec.hidden_size, spec.mlp_dim,
      spec.num_heads, count)
  whole = macs(pretrained_arms.Arm('', 'plain'), plain)
  return whole - blocks(0) + blocks(count)


def _num_tokens(plain: backbones.Classifier) -> int:
  """Returns the number of tokens before the first block, 1 + N."""
  return 1 + math.prod(
      plain.backbone.spec.grid_size(plain.backbone.input_size))
