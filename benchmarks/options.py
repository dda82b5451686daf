"""Flags that several benchmarks share; importable without TensorFlow."""

from typing import List, Sequence

from absl import flags

from tf_tokenlearner import errors

_MODES = ('graph', 'xla')


def define(values: flags.FlagValues, variant: str, modes: str,
           rounds: int) -> None:
  """Defines the flags with the defaults of one benchmark; no modes if ''."""
  # --help lists the flags of the module __main__.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_string(
      'variant', variant, 'Variant of all models, such as B/16.', **owner)
  flags.DEFINE_integer(
      'image_size', 224, 'Height and width in pixels.', lower_bound=1, **owner)
  flags.DEFINE_integer(
      'num_tokens', 8, 'Tokens that the TokenLearner learns.', lower_bound=1,
      **owner)
  flags.DEFINE_integer(
      'location', 6, 'First block, counted from 0, that sees learned tokens.',
      lower_bound=0, **owner)
  if modes:
    flags.DEFINE_list(
        'modes', modes, 'graph: tf.function; xla: compiled by XLA; tflite, '
        'where it is a default: a TFLite file.', **owner)
  flags.DEFINE_integer(
      'rounds', rounds, 'Timed calls per model; medians are printed.',
      lower_bound=1, **owner)


def modes(given: Sequence[str], others: Sequence[str] = ()) -> List[str]:
  """Returns the checked value of --modes.

  Args:
    given: value of the flag.
    others: modes of this benchmark besides those of all.

  Raises:
    UserError: a mode is unknown, or none is given.
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
  """Returns the value of --batch_sizes as numbers.

  Raises:
    UserError: a size is not a whole number of at least 1.
  """
  if not given or not all(size.isdecimal() and int(size) for size in given):
    raise errors.UserError(
        '--batch_sizes must be whole numbers of at least 1, such as 1,8; '
        f'got {",".join(given)!r}.')
  return [int(size) for size in given]
