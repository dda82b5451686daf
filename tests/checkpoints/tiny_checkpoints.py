"""Checkpoints small enough for tests: public ViT weights, and runs of ours."""

from typing import Dict, Optional

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones

WIDTH, HEADS, MLP, PATCH, CLASSES = 8, 2, 12, 4, 5


PARAMS = """
task:
  model:
    backbone:
      token_learner_vit: {
        variant: Ti/4, num_layers: 2, hidden_size: 8, mlp_dim: 12, num_heads: 2,
        patch_size: !!python/tuple [4, 4]}
      type: token_learner_vit
    input_size: [8, 8, 3]
    num_classes: 5
"""


def vit_arrays(num_layers: int = 2, grid=(2, 2), class_token: bool = True,
               representation: Optional[int] = None,
               seed: int = 0) -> Dict[str, np.ndarray]:
  """Drawn arrays in the layout of google-research/vision_transformer."""
  generator = np.random.default_rng(seed)
  d = WIDTH // HEADS
  shapes = {
      'embedding/kernel': (PATCH, PATCH, 3, WIDTH), 'embedding/bias': (WIDTH,),
      'Transformer/posembed_input/pos_embedding': (
          1, grid[0] * grid[1] + class_token, WIDTH),
      'Transformer/encoder_norm/scale': (WIDTH,),
      'Transformer/encoder_norm/bias': (WIDTH,),
      'head/kernel': (representation or WIDTH, CLASSES),
      'head/bias': (CLASSES,)}
  if class_token:
    shapes['cls'] = (1, 1, WIDTH)
  if representation:
    shapes['pre_logits/kernel'] = (WIDTH, representation)
    shapes['pre_logits/bias'] = (representation,)
  for i in range(num_layers):
    block = f'Transformer/encoderblock_{i}/'
    attention = f'{block}MultiHeadDotProductAttention_1/'
    for name in ('query', 'key', 'value'):
      shapes[f'{attention}{name}/kernel'] = (WIDTH, HEADS, d)
      shapes[f'{attention}{name}/bias'] = (HEADS, d)
    shapes.update({
        f'{attention}out/kernel': (HEADS, d, WIDTH),
        f'{attention}out/bias': (WIDTH,),
        f'{block}MlpBlock_3/Dense_0/kernel': (WIDTH, MLP),
        f'{block}MlpBlock_3/Dense_0/bias': (MLP,),
        f'{block}MlpBlock_3/Dense_1/kernel': (MLP, WIDTH),
        f'{block}MlpBlock_3/Dense_1/bias': (WIDTH,)})
    for norm in ('LayerNorm_0', 'LayerNorm_2'):
      shapes[f'{block}{norm}/scale'] = shapes[f'{block}{norm}/bias'] = (WIDTH,)
  return {name: (.3 * generator.normal(size=shape)).astype(np.float32)
          for name, shape in shapes.items()}


def write(path, arrays: Dict[str, np.ndarray]) -> str:
  np.savez(path, **arrays)
  return str(path)


def write_vit(path, **options) -> str:
  return write(path, vit_arrays(**options))


def write_run(folder, model: backbones.Classifier, params: str = PARAMS) -> str:
  """Writes a run of classifier(); returns its checkpoint."""
  folder.mkdir(exist_ok=True)
  (folder / 'params.yaml').write_text(params)
  return tf.train.Checkpoint(model=model).save(str(folder / 'ckpt'))


def spec(**options) -> backbones.ViTSpec:
  """Returns the model of vit_arrays without its class token."""
  return backbones.ViTSpec('Ti/4', **{**dict(
      num_layers=2, hidden_size=WIDTH, mlp_dim=MLP, num_heads=HEADS),
                                       **options})


def classifier(size=(8, 8, 3), num_classes: int = CLASSES,
               **options) -> backbones.Classifier:
  return backbones.Classifier(
      backbones.VisionTransformer(spec(**options), size), num_classes)
