"""Registers configs, tasks and backbones with the Model Garden.

The Model Garden's own scripts find the experiments of this project after
register_all(). This project's train.py needs no call: its modules import what
they use.
"""


def register_all() -> None:
  """Imports every module that registers an experiment, a task or a backbone."""
  # pylint: disable=g-import-not-at-top,unused-import
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.tasks import classification_task
