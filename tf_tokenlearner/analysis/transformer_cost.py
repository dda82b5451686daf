"""What the vision transformers cost, layer by layer and less the head."""

import math
import typing
from typing import List, Sequence

from tf_tokenlearner.analysis import counts

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import specs


def vit_rows(
    spec: 'specs.ViTSpec', input_size: Sequence[int]) -> List[counts.Row]:
  """A VisionTransformer.

  Args:
    spec: ViTSpec, resolved.
    input_size: (height, width, channels) of the images.

  Returns:
    Rows patch_embedding, class_token (if any), position_embedding, the
    encoder's, pre_logits (if any).
  """
  grid_size = spec.grid_size(input_size)
  num_positions = math.prod(grid_size)
  patches = counts.convolution(
      num_positions, spec.patch_size, input_size[-1], spec.hidden_size)
  return [
      counts.row('patch_embedding', [*grid_size, spec.hidden_size], patches),
      *_embedding_rows(spec, num_positions, num_positions),
      *counts.encoder_rows(
          spec, num_positions, num_class_tokens=_class_tokens(spec)),
      *_pre_logits_rows(spec)]


def vivit_rows(spec: 'specs.ViViTSpec',
               input_size: Sequence[int]) -> List[counts.Row]:
  """A VideoVisionTransformer.

  Args:
    spec: ViViTSpec, resolved.
    input_size: (frames, height, width, channels) of the clips.

  Returns:
    Rows tubelet_embedding, then as of a VisionTransformer.
  """
  num_frames = spec.num_frames(input_size)
  num_positions = math.prod(spec.grid_size(input_size))
  num_vectors = num_positions * (
      1 if spec.position_embedding == 'repeated' else num_frames)
  return [
      _tubelet_row(spec, input_size),
      *_embedding_rows(spec, num_frames * num_positions, num_vectors),
      *counts.encoder_rows(
          spec, num_positions, num_frames, _class_tokens(spec)),
      *_pre_logits_rows(spec)]


def factorized_vivit_rows(
    spec: 'specs.FactorizedViViTSpec',
    input_size: Sequence[int]) -> List[counts.Row]:
  """A FactorizedVideoVisionTransformer.

  Args:
    spec: FactorizedViViTSpec, resolved.
    input_size: (frames, height, width, channels) of the clips.

  Returns:
    Rows tubelet_embedding, space_* of the spatial part (what they give has an
    axis T before it), time_* of the temporal part, pre_logits (if any).
  """
  num_frames = spec.num_frames(input_size)
  num_positions = math.prod(spec.grid_size(input_size))
  window = num_frames * spec.tokens_per_frame()
  spatial = [
      *_embedding_rows(spec, num_positions, num_positions),
      *counts.encoder_rows(
          spec, num_positions, num_class_tokens=_class_tokens(spec))]
  temporal = [
      *_embedding_rows(spec, window, window),
      *counts.encoder_rows(
          spec.temporal_spec(), window, num_class_tokens=_class_tokens(spec))]
  return [
      _tubelet_row(spec, input_size),
      *(_in_every_frame(row, num_frames) for row in spatial),
      *(row._replace(name=f'time_{row.name}') for row in temporal),
      *_pre_logits_rows(spec)]


def _tubelet_row(spec, input_size) -> counts.Row:
  size = [spec.num_frames(input_size), *spec.grid_size(input_size)]
  return counts.row(
      'tubelet_embedding', [*size, spec.hidden_size],
      counts.convolution(math.prod(size), spec.tubelet_size, input_size[-1],
                         spec.hidden_size))


def _embedding_rows(
    spec, num_positions: int, num_vectors: int) -> List[counts.Row]:
  """Class token and positions, of which that many have vectors."""
  width, class_tokens = spec.hidden_size, _class_tokens(spec)
  output = [num_positions + class_tokens, width]
  rows = [counts.row('class_token', output, counts.Count(width))] * class_tokens
  return rows + [counts.row('position_embedding', output, counts.Count(
      (num_vectors + class_tokens) * width))]


def _class_tokens(spec) -> int:
  return int(spec.pooler == 'token')


def _in_every_frame(row: counts.Row, num_frames: int) -> counts.Row:
  return row._replace(name=f'space_{row.name}',
                      output=f'[{num_frames}, {row.output[1:]}',
                      macs=num_frames * row.macs)


def _pre_logits_rows(spec) -> List[counts.Row]:
  size = spec.representation_size
  return [counts.row('pre_logits', [size], counts.dense(
      1, spec.hidden_size, size))] if size else []
