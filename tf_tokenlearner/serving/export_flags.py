"""Flags that all export commands share; imports no TensorFlow."""

from typing import Any, Dict

from absl import flags


def define(verify: str, verify_examples: int) -> None:
  """Defines the shared flags.

  Args:
    verify: describes what --verify does.
    verify_examples: default of --verify_examples.
  """
  # --help lists the flags that the program itself defines.
  owner = dict(module_name='__main__')
  flags.DEFINE_string('model_dir', None, 'Folder of the run.', **owner)
  flags.DEFINE_string(
      'export_dir', None, 'Folder to write; absent or empty.', **owner)
  flags.DEFINE_string(
      'checkpoint', '', 'A checkpoint or a folder of checkpoints; by default '
      'the best one of the run, or else the latest.', **owner)
  flags.DEFINE_bool(
      'verify', True, f'{verify}; --noverify keeps the export without a test.',
      **owner)
  flags.DEFINE_integer(
      'verify_examples', verify_examples, 'Number of evaluation examples to '
      'compare on, drawn evenly over the whole set.', **owner)
  flags.DEFINE_bool(
      'keep_unverified', False, 'Keep an export that verification refuses, '
      'and print the refusal.', **owner)


def values() -> Dict[str, Any]:
  """Returns the flags as keyword arguments of every exporter's `export`."""
  names = ('model_dir', 'export_dir', 'checkpoint', 'verify', 'verify_examples',
           'keep_unverified')
  return {name: flags.FLAGS[name].value for name in names}
