"""Checks of specs.

A field of a spec states its own check: `num_heads: int = spec_checks.size(8)`.
A rule is a condition that must not hold, and its message.
"""

import copy
import dataclasses
from typing import Any, Callable, Iterable, Optional, Sequence, Tuple

from tf_tokenlearner import errors

# (spec -> whether the rule is broken, message that may quote {s.any_field}).
Rule = Tuple[Callable[[Any], Any], str]

TRANSFORMER_RULES: Tuple[Rule, ...] = (
    (lambda s: s.hidden_size % s.num_heads,
     'hidden_size={s.hidden_size} is no multiple of num_heads={s.num_heads}.'),
    (lambda s: s.tokenizer == 'grid_pooling' and not s.token_learners(),
     'tokenizer=grid_pooling needs a token_learner_location: the first block '
     'that sees the pooled tokens.'),
    (lambda s: len(dict(s.token_learners())) < len(s.token_learners()),
     'token_learner_location={s.token_learner_location} names a block twice.'),
    (lambda s: (s.pooling_window is not None
                and s.tokenizer != 'grid_pooling'),
     'pooling_window={s.pooling_window} goes with tokenizer=grid_pooling '
     'only.'),
    (lambda s: (s.tokenizer == 'token_learner' and len(s.token_learners()) > 1
                and s.token_learner.version == 'v1.0'),
     'token_learner.version=v1.0 reads a map of positions, so it can stand at '
     'one location only: after it there is no map. Use v1.1 for several.'),
    (lambda s: s.use_token_fuser and len(s.token_learners()) != 1,
     'use_token_fuser needs exactly one token_learner_location, got '
     '{s.token_learner_location}: from it on, every block learns and fuses.'),
    (lambda s: s.fuser != 'token_fuser' and not s.use_token_fuser,
     'fuser={s.fuser} goes with use_token_fuser=true only.'),
    (lambda s: s.fuser == 'unpooling' and (
        s.tokenizer, s.token_learner.version, s.token_learner.pooling) != (
            'token_learner', 'v1.0', 'mean'),
     'fuser=unpooling goes with tokenizer=token_learner, '
     'token_learner.version=v1.0 and token_learner.pooling=mean only: it needs '
     'masks, and sums over all positions would grow from block to block.'),
    (lambda s: s.pooler.startswith('token') and not s.num_class_tokens,
     'pooler={s.pooler} reads a class token, got num_class_tokens=0. Set '
     'num_class_tokens=null, or another pooler.'),
    (lambda s: s.use_token_fuser and s.num_prefix_tokens(),
     'use_token_fuser cannot go with class tokens or registers, which have no '
     'place in the map that is fused. Set pooler=gap, num_class_tokens=0 and '
     'num_registers=0, or use_token_fuser=false.'),
)

VIVIT_RULES: Tuple[Rule, ...] = (
    (lambda s: s.position_embedding == 'repeated' and s.num_class_tokens,
     'position_embedding=repeated cannot go with a class token (pooler='
     '{s.pooler}), which belongs to no frame. Use position_embedding=learned, '
     'or pooler=gap and num_class_tokens=0.'),
    (lambda s: (s.tubelet_embedding == '3d_conv'
                and s.num_sampled_frames is not None),
     'num_sampled_frames={s.num_sampled_frames} goes with '
     'tubelet_embedding=temporal_sampling only; 3d_conv sees every frame.'),
    (lambda s: (s.tubelet_embedding == 'temporal_sampling'
                and s.tubelet_size[0] != 1),
     'tubelet_embedding=temporal_sampling embeds single frames, but a tubelet '
     'holds {s.tubelet_size[0]}: use a variant that ends in x1, or '
     'tubelet_size=[1, height, width].'),
)

FACTORIZED_RULES: Tuple[Rule, ...] = (
    (lambda s: (s.num_registers or s.pre_norm or s.num_class_tokens > 1
                or s.final_norm != 'before_pooling'
                or s.pooler in ('token_and_mean', 'attention')
                or s.num_class_tokens and s.token_learners()),
     'A factorised encoder takes no registers, pre_norm, '
     'final_norm=after_pooling, pooler=token_and_mean or attention, several '
     'class tokens, or a class token with a TokenLearner. Use the ViViT that '
     'is not factorised.'),
    (lambda s: s.use_token_fuser,
     'use_token_fuser cannot go with a factorised encoder: the temporal '
     'transformer sees learned tokens, not all positions. Set '
     'use_token_fuser=false, or use the ViViT that is not factorised.'),
    (lambda s: s.hidden_size % s.temporal_num_heads,
     'hidden_size={s.hidden_size} is no multiple of temporal_num_heads='
     '{s.temporal_num_heads}.'),
)

# Options of TokenLearnerSpec that each tokenizer reads.
_OPTIONS_READ = {
    'v1.0': ('version', 'pooling', 'num_convolutions', 'kernel_size'),
    'v1.1': ('version', 'bottleneck_dim', 'dropout_rate'),
    'grid_pooling': (),
}
_FUSER_OPTIONS_READ = ('bottleneck_dim', 'dropout_rate')


def size(default: Optional[int], optional: bool = False) -> Any:
  """Returns a field for a whole number of at least 1; None if optional."""
  return _field(default, require_positive, optional)


def count(default: Optional[int]) -> Any:
  """Returns a field for a whole number of at least 0."""
  return _field(default, require_count)


def epsilon(default: Optional[float]) -> Any:
  """Returns a field for a number in (0, 1)."""
  return _field(default, require_epsilon)


def sizes(default: Optional[Sequence[int]], *axes: str) -> Any:
  """Returns a field for one size per axis."""
  return _field(default, lambda name, value: require_sizes(name, value, axes))


def rate(default: float) -> Any:
  """Returns a field for a number in [0, 1)."""
  return _field(default, require_rate)


def number(default: float) -> Any:
  """Returns a field for a number."""
  return _field(default, require_number)


def choice(default: str, known: Sequence[str]) -> Any:
  """Returns a field for one of the known names."""
  return _field(default, lambda name, value: require_known(name, value, known))


def _field(default: Any, check: Callable[[str, Any], None],
           optional: bool = False) -> Any:
  metadata = {'check': check, 'optional': optional or default is None}
  if isinstance(default, list):
    return dataclasses.field(
        default_factory=lambda: list(default), metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


def check_fields(spec: Any, prefix: str = '') -> None:
  """Raises UserError for the first field whose value is not allowed."""
  for field in dataclasses.fields(spec):
    value = getattr(spec, field.name)
    if 'check' in field.metadata and not (
        value is None and field.metadata['optional']):
      field.metadata['check'](prefix + field.name, value)


def check_rules(spec: Any, rules: Iterable[Rule]) -> None:
  """Raises UserError with the message of the first rule that is broken."""
  for is_broken, message in rules:
    if is_broken(spec):
      raise errors.UserError(message.format(s=spec))


def check_options_are_read(spec: Any) -> None:
  """Raises UserError for an option of token_learner that no layer reads."""
  learner = spec.token_learner
  pooled = spec.tokenizer == 'grid_pooling'
  read = _OPTIONS_READ['grid_pooling' if pooled else learner.version]
  if spec.use_token_fuser and spec.fuser == 'token_fuser':
    read += _FUSER_OPTIONS_READ
  for field in dataclasses.fields(learner):
    value = getattr(learner, field.name)
    if value != field.default and field.name not in read:
      raise errors.UserError(
          f'token_learner.{field.name}={value} has no effect with '
          + ('tokenizer=grid_pooling, which learns nothing' if pooled else
             f'token_learner.version={learner.version}') + ': leave it out.')


def to_list(value: Any) -> list:
  """Returns a list or tuple as a list, and anything else in a list."""
  return list(value) if isinstance(value, (list, tuple)) else [value]


def plain_copy(spec_class: type, other: Any) -> Any:
  """Returns a spec with the fields of another, which may be a Garden config."""
  return spec_class(**{
      field.name: copy.deepcopy(getattr(other, field.name))
      for field in dataclasses.fields(spec_class)})


def require_known_sizes(spec: Any, *names: str) -> None:
  """Raises UserError for a size that variant=auto misses."""
  missing = [name for name in names if getattr(spec, name) is None]
  if missing:
    raise errors.UserError(
        'variant=auto takes the sizes from the pretrained weights in '
        f'task.init_checkpoint, got none for {", ".join(missing)}. Set '
        'task.init_checkpoint=hf://OWNER/NAME, or another variant.')


def require_positive(name: str, value: Any) -> None:
  """Raises UserError unless value is a whole number of at least 1."""
  if isinstance(value, bool) or not isinstance(value, int) or value < 1:
    raise errors.UserError(
        f'{name} must be a whole number of at least 1, got {value!r}.')


def require_count(name: str, value: Any) -> None:
  """Raises UserError unless value is a whole number of at least 0."""
  if isinstance(value, bool) or not isinstance(value, int) or value < 0:
    raise errors.UserError(
        f'{name} must be a whole number of at least 0, got {value!r}.')


def require_epsilon(name: str, value: Any) -> None:
  """Raises UserError unless value is a number in (0, 1)."""
  if not isinstance(value, (int, float)) or not 0 < value < 1:
    raise errors.UserError(f'{name} must lie in (0, 1), got {value!r}.')


def require_number(name: str, value: Any) -> None:
  """Raises UserError unless value is a number."""
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise errors.UserError(f'{name} must be a number, got {value!r}.')


def require_rate(name: str, value: Any) -> None:
  """Raises UserError unless value is a number in [0, 1)."""
  if not isinstance(value, (int, float)) or not 0 <= value < 1:
    raise errors.UserError(f'{name} must lie in [0, 1), got {value!r}.')


def require_sizes(name: str, values: Any, axes: Sequence[str]) -> None:
  """Raises UserError unless values holds a whole number for each axis."""
  if not isinstance(values, (list, tuple)) or len(values) != len(axes):
    raise errors.UserError(
        f'{name} must be [{", ".join(axes)}], got {values!r}.')
  for axis, value in zip(axes, values):
    require_positive(f'{name} {axis}', value)


def require_known(name: str, value: Any, known: Sequence[str]) -> None:
  """Raises UserError unless value is one of the known names."""
  if value not in known:
    raise errors.unknown_name(name, value, known)


def require_tiled(whole: str, whole_size: Sequence[int], part: str,
                  part_size: Sequence[int], axes: Sequence[str]) -> None:
  """Raises UserError unless the parts fill the whole along every axis."""
  for axis, pixels, step in zip(axes, whole_size, part_size):
    if pixels % step:
      below = max(pixels // step, 1) * step
      raise errors.UserError(
          f'The {whole} {axis} {pixels} is no multiple of the {part} {axis} '
          f'{step}. Nearest that fit: {below} and {below + step}.')
