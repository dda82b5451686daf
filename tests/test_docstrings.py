"""The examples in docstrings of layers and backbones run as printed."""

import doctest
import importlib
import pkgutil

import pytest
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import layers

MODULES = [
    f'{package.__name__}.{module.name}' for package in (layers, backbones)
    for module in pkgutil.iter_modules(package.__path__)]
NAMES = {'tf': tf}


@pytest.mark.parametrize('name', MODULES)
def test_examples_run_as_printed(name):
  module = importlib.import_module(name)
  failed, _ = doctest.testmod(module, extraglobs=NAMES)
  assert failed == 0


def test_every_public_layer_has_an_example():
  finder = doctest.DocTestFinder(recurse=False)
  for name, layer in vars(layers).items():
    if isinstance(layer, type):
      (test,) = finder.find(layer, extraglobs=NAMES)
      assert test.examples, name
