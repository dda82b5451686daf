"""The flags that the benchmarks share, known before TensorFlow is imported."""

from typing import List, Sequence

from absl import flags

from tf_tokenlearner import errors

_MODES = ('graph', 'xla')


def define(values: flags.FlagValues, variant: str, modes: str,
           rounds: int) -> None:
  """Defines the flags with the defaults of one benchmark."""
  # --help lists what the program itself defines.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_string(
      'variant', variant, 'Size of all models: letter/patch.', **owner)
  flags.DEFINE_integer(
      'image_size', 224, 'Height and width in pixels.', lower_bound=1, **owner)
  flags.DEFINE_integer(
      'num_tokens', 8, 'Tokens that the TokenLearner learns.', lower_bound=1,
      **owner)
  flags.DEFINE_integer(
      'location', 6, 'First block, counted from 0, that sees learned tokens.',
      lower_bound=0, **owner)
  flags.DEFINE_list(
      'modes', modes, 'graph: tf.function; xla: compiled as a whole; where it '
      'is a default also tflite.', **owner)
  flags.DEFINE_integer(
      'rounds', rounds, 'How often each is timed; medians are printed.',
      lower_bound=1, **owner)


def modes(given: Sequence[str], others: Sequence[str] = ()) -> List[str]:
  """The value of --modes. Raises UserError for a mode that there is not.

  Args:
    given: the value.
    others: that this benchmark has besides those of all.
  """
  known = (*_MODES, *others)
  for mode in given:
    if mode not in known:
      raise errors.unknown_name('mode', mode, known)
  if not given:
    raise errors.UserError(
        f'--modes is empty; give one or more of {", ".join(known)}.')
  return list(given)


def batch_sizes(given: Sequence[str]) -> List[int]:
  """The value of --batch_sizes. Raises UserError if one is no size."""
  if not given or not all(size.isdecimal() and int(size) for size in given):
    raise errors.UserError(
        '--batch_sizes must be whole numbers of at least 1, such as 1,8; '
        f'received {",".join(given)!r}.')
  return [int(size) for size in given]
