"""Registers configs, tasks and backbones with the Model Garden.

The Model Garden's own scripts find the experiments of this project after
register_all(). This project's train.py needs no call: its modules import what
they use.
"""

import importlib


def register_all() -> None:
  """Imports every module that registers an experiment, a task or a backbone."""
  for module in ('tf_tokenlearner.configs.experiments',
                 'tf_tokenlearner.tasks.classification_task'):
    importlib.import_module(module)
