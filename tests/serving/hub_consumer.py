"""Uses and fine-tunes a module where tf_tokenlearner is not installed.

  PYTHONPATH=SITE_PACKAGES python -S hub_consumer.py MODULE INPUTS.npy OUT.npz

Without the module site nobody reads the .pth files through which an editable
install is found. Started in the folder above the module's, so that the code of
its card runs as it is printed.
"""

import importlib
import os
import re
import sys

import numpy as np
import tensorflow_hub as hub
import tf_keras

_NAME = 'tf_tokenlearner'  # In words of its own, so that nothing depends on it.


def main(module: str, inputs_path: str, out_path: str) -> None:
  try:
    importlib.import_module(_NAME)
  except ImportError:
    pass
  else:
    raise AssertionError(f'{_NAME} is there after all.')
  inputs = np.load(inputs_path)
  loaded = hub.load(module)
  random = [loaded(inputs, training=True) for _ in range(2)]
  again = loaded(inputs)
  results = dict(
      load=loaded(inputs), again=again, random=random,
      losses=len(loaded.regularization_losses), **_tune(module, inputs))
  with open(os.path.join(module, 'README.md'), encoding='utf-8') as file:
    printed = re.findall(r'```python\n(.*?)```', file.read(), re.DOTALL)
  names = {}
  exec('\n'.join(printed), names)  # pylint: disable=exec-used
  results['card_losses'] = names['model'].history.history['loss']
  np.savez(out_path, **results)


def _tune(module, inputs):
  """Teaches it to tell bright from dark."""
  tf_keras.utils.set_random_seed(1)
  layer = hub.KerasLayer(module, trainable=True)
  model = tf_keras.Sequential([layer, tf_keras.layers.Dense(2)])
  model.compile(
      tf_keras.optimizers.Adam(3e-3),
      tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
  frozen = hub.KerasLayer(module)
  results = dict(
      layer=layer(inputs, training=False), frozen=frozen(inputs, training=True),
      trainable=[len(layer.trainable_weights), len(frozen.trainable_weights)])
  examples = np.concatenate([.5 * inputs, .5 + .5 * inputs])
  labels = np.repeat([0, 1], len(inputs))
  before = [weight.numpy() for weight in layer.trainable_weights]
  loss = model.evaluate(examples, labels, verbose=0)
  model.fit(examples, labels, epochs=20, batch_size=len(labels), verbose=0)
  changed = [bool(np.any(weight.numpy() != old))
             for weight, old in zip(layer.trainable_weights, before)]
  return dict(results, changed=changed, loss_before=loss,
              loss_after=model.evaluate(examples, labels, verbose=0))


if __name__ == '__main__':
  main(*sys.argv[1:])
