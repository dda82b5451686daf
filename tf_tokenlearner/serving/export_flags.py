"""The flags that the programs of export/ share, known before TensorFlow is."""

from typing import Any, Dict

from absl import flags


def define(verify: str, verify_examples: int) -> None:
  """Defines them.

  Args:
    verify: what --verify does.
    verify_examples: default of --verify_examples.
  """
  # --help lists what the program itself defines.
  owner = dict(module_name='__main__')
  flags.DEFINE_string('model_dir', None, 'Folder of the run.', **owner)
  flags.DEFINE_string(
      'export_dir', None, 'Where to write; must not exist yet.', **owner)
  flags.DEFINE_string(
      'checkpoint', '', 'A checkpoint or a folder of them; by default the best '
      'of the run, or else its latest.', **owner)
  flags.DEFINE_bool(
      'verify', True, f'{verify}; --noverify keeps the export unseen.', **owner)
  flags.DEFINE_integer(
      'verify_examples', verify_examples, 'How many of the evaluation data at '
      'most.', **owner)


def values() -> Dict[str, Any]:
  """What was given, as every `export` of tf_tokenlearner.serving takes it."""
  names = ('model_dir', 'export_dir', 'checkpoint', 'verify', 'verify_examples')
  return {name: flags.FLAGS[name].value for name in names}
