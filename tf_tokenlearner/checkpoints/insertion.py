"""Puts a TokenLearner into a plain transformer that is trained already."""

import dataclasses
from typing import Any, Union

import numpy as np

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import own_run
from tf_tokenlearner.checkpoints import restore
from tf_tokenlearner.checkpoints import token_learner_start
from tf_tokenlearner.checkpoints import transfer


def insert_token_learner(
    plain: Union[backbones.Classifier, str], location: int, num_tokens: int,
    examples: np.ndarray, **options: Any) -> backbones.Classifier:
  """A plain classifier with a TokenLearner in it, to be fine-tuned shortly.

  All other weights are kept. Each token starts near the mean of its own part of
  the map, as token_learner_start says, which needs a few examples.

  Args:
    plain: classifier around a transformer without TokenLearner; or the folder
      of a run of this project, or a checkpoint in it. A class token is dropped,
      and the head sees the mean of the tokens instead.
    location: block that is to be the first to see tokens, counted from 0.
    num_tokens: S.
    examples: [B, height, width, channels] or [B, frames, ...], as in training;
      64 are enough.
    **options: of the new model's spec, such as token_learner.

  Returns:
    A new classifier; plain is left as it was.

  Raises:
    UserError: plain has a TokenLearner, or is no transformer, the spec makes no
      sense, there are fewer positions than tokens, or no examples of its
      size.
  """
  if location is None:
    raise errors.UserError(
        'insert_token_learner: location must be the number of a block, '
        'received None.')
  if isinstance(plain, str):
    plain = _read(plain)
  backbone = plain.backbone
  transfer.require_known(type(backbone))
  if backbone.spec.learn_locations():
    raise errors.UserError(
        'insert_token_learner: the model has a TokenLearner at '
        f'{backbone.spec.token_learner_location} already; expected a plain '
        'one.')
  if (not len(examples)
      or tuple(examples.shape[1:]) != tuple(backbone.input_size)):
    raise errors.UserError(
        'insert_token_learner: examples must be [B, '
        f'{", ".join(map(str, backbone.input_size))}] with B of at least 1, '
        f'received {list(examples.shape)}.')
  height, width = backbone.spec.grid_size(backbone.input_size)
  if num_tokens > height * width:
    raise errors.UserError(
        f'insert_token_learner: num_tokens is {num_tokens}, but a frame has '
        f'{height} x {width} positions to learn them from.')
  spec = dataclasses.replace(
      backbone.spec, token_learner_location=location, num_tokens=num_tokens,
      pooler='gap' if backbone.spec.pooler == 'token' else backbone.spec.pooler,
      **options)
  model = backbones.Classifier(
      type(backbone)(spec, backbone.input_size), plain.num_classes,
      plain.dropout_rate, plain.head_bias)
  done = transfer.transfer(plain, model)
  notes = token_learner_start.start_at_means(model, done.fresh, examples)
  transfer.say('the plain model', type(backbone).__name__,
               done._replace(notes=(*done.notes, *notes)))
  return model


def _read(path: str) -> backbones.Classifier:
  path = restore.find(path)
  run = own_run.describe(path)
  if run is None:
    raise errors.UserError(
        f'{path} lies in no training run of this project. Load the checkpoint '
        'into a plain classifier first, and give that.')
  return own_run.read_model(path, run)
