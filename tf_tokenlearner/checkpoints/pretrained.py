"""Pretrained vision transformers of timm and transformers as our models."""

import dataclasses
from typing import Any, Optional

import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained_arrays
from tf_tokenlearner.checkpoints import transfer

_BACKBONES = {specs.ViTSpec: backbones.VisionTransformer,
              specs.ViViTSpec: backbones.VideoVisionTransformer}


def from_pretrained(source: str, num_classes: Optional[int] = None,
                    num_heads: int = 0, **options: Any) -> tf_keras.Model:
  """Builds a classifier from a pretrained vision transformer.

  Reads ViT, DeiT, DINOv2, CLIP, SigLIP, VideoMAE and ViViT of transformers and
  the ViTs of timm, as safetensors. The architecture follows the weights.

  Args:
    source: hf://OWNER/NAME[@REVISION], or a local folder or .safetensors file.
    num_classes: int > 0, a fresh head of this size; None keeps the head of the
      file.
    num_heads: attention heads, for files without config.json whose heads are
      not 64 channels wide.
    **options: fields of the spec that add a TokenLearner or regularisation:
      token_learner_location, num_tokens, token_learner, dropout_rate, ...

  Returns:
    Classifier of float pixels [B, H, W, 3], or [B, T, H, W, 3] of clips, in
    [-1, 1]. It returns logits [B, num_classes], or pre_logits where neither the
    file nor num_classes gives a head. Its attribute loading_report says what
    became of every tensor that was not used as it is, and which variables are
    fresh.

  Raises:
    UserError: files that are missing, damaged or not supported, or options that
      do not fit.
  """
  files = hub_files.read(source)
  model = read(files, num_heads, needs_head=num_classes is None)
  report = model.loading_report
  if options or num_classes is not None:
    model, report = _adapted(model, num_classes, options)
  model.loading_report = (
      *report, *([f'licence: {files.licence}'] if files.licence else ()))
  return model


def read(files: hub_files.PretrainedFiles, num_heads: int = 0,
         needs_head: bool = True) -> backbones.Classifier:
  """Builds the model of a file with its weights; every tensor is accounted for.

  Args:
    files: what hub_files.read returned.
    num_heads: as in pretrained_arrays.convert.
    needs_head: as in pretrained_arrays.convert.

  Returns:
    Classifier with the attribute loading_report, a tuple of sentences.
  """
  converted = pretrained_arrays.convert(files, num_heads, needs_head)
  model = backbones.Classifier(
      _BACKBONES[type(converted.spec)](converted.spec, converted.input_size),
      converted.num_classes)
  flax_names.assign(
      flax_names.classifier_entries(model),
      converted.arrays, f'{files.source} does not fit its own architecture')
  model.loading_report = tuple(converted.notes)
  return model


def _adapted(model: backbones.Classifier, num_classes: Optional[int], options):
  """Returns the model with other options and a report of what is fresh."""
  spec = model.backbone.spec
  known = {field.name for field in dataclasses.fields(spec)}
  for name in options:
    if name not in known:
      raise errors.unknown_name('option of from_pretrained', name, known)
  wanted = backbones.Classifier(
      type(model.backbone)(
          dataclasses.replace(spec, **options), model.backbone.input_size),
      model.num_classes if num_classes is None else num_classes)
  head = 'keep' if num_classes is None else 'fresh'
  done = transfer.transfer(model, wanted, head)
  return wanted, (*model.loading_report,
                  *(f'fresh: {name}' for name in done.fresh),
                  *(f'left out: {name}' for name in done.unused), *done.notes)
