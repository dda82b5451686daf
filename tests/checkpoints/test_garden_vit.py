"""The Model Garden's ViT, saved as its trainer does, gives the same logits."""

import functools
import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.modeling import classification_model
from official.vision.modeling.backbones import vit
from official.vision.ops import preprocess_ops

from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import checkpoints
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import garden_vit

IMAGES = np.random.default_rng(3).integers(0, 256, [3, 8, 12, 3]).astype(
    np.float32)


@functools.cache
def garden(width=12, channels=3, head_norm=False, **options):
  """The Garden's classifier, drawn weights; tests must not change it."""
  input_specs = tf_keras.layers.InputSpec(shape=[None, 8, width, channels])
  backbone = vit.VisionTransformer(**{**dict(
      num_layers=2, hidden_size=tiny_checkpoints.WIDTH,
      mlp_dim=tiny_checkpoints.MLP, num_heads=tiny_checkpoints.HEADS,
      patch_size=4, input_specs=input_specs,
      dropout_rate=0.), **options})
  model = classification_model.ClassificationModel(
      backbone, 5, input_specs, add_head_batch_norm=head_norm)
  generator = np.random.default_rng(0)
  for variable in model.weights:
    variable.assign(.3 * generator.normal(size=variable.shape))
  return model


def save(model, folder):
  """With all that base_trainer.Trainer has in a checkpoint."""
  optimizer = tf_keras.optimizers.legacy.Adam()
  optimizer._create_all_weights(model.trainable_variables)
  checkpoint = tf.train.Checkpoint(
      global_step=tf.Variable(3, dtype=tf.int64), model=model,
      optimizer=optimizer, **model.checkpoint_items)
  return checkpoint.save(str(folder / 'ckpt'))


def ours(size=(8, 12, 3), **options):
  return tiny_checkpoints.classifier(size, **options)


@pytest.mark.parametrize('options', [
    dict(pooler='token', representation_size=6), dict(pooler='gap')])
def test_same_image_same_logits(tmp_path, capsys, options):
  theirs = garden(**options)
  save(theirs, tmp_path)
  model = ours(**options)
  checkpoints.initialize(model, str(tmp_path))
  assert '(ViT of the Model Garden):' in capsys.readouterr().err
  normalised = preprocess_ops.normalize_image(
      tf.constant(IMAGES), preprocess_ops.MEAN_RGB, preprocess_ops.STDDEV_RGB)
  np.testing.assert_allclose(
      model(IMAGES / 127.5 - 1), theirs(normalised), atol=1e-5)


def test_pixels_that_were_not_normalised(tmp_path):
  theirs = garden(pooler='gap')
  model = flax_models.build(
      garden_vit.read(save(theirs, tmp_path), normalized=False), ours())
  x = IMAGES / 127.5 - 1
  np.testing.assert_allclose(model(x), theirs(x), atol=1e-5)


def test_grey_images_have_no_mean_of_three_channels(tmp_path):
  theirs = garden(channels=1, pooler='gap')
  model = flax_models.build(
      garden_vit.read(save(theirs, tmp_path)), ours((8, 12, 1)))
  x = IMAGES[..., :1] / 127.5 - 1
  np.testing.assert_allclose(model(x), theirs(x), atol=1e-5)


def test_model_alone_without_its_backbone_by_name(tmp_path):
  theirs = garden(pooler='token')
  path = tf.train.Checkpoint(model=theirs).write(str(tmp_path / 'ckpt'))
  model = flax_models.build(
      garden_vit.read(path, normalized=False), ours(pooler='token'))
  x = IMAGES / 127.5 - 1
  np.testing.assert_allclose(model(x), theirs(x), atol=1e-5)


def test_into_token_learner_of_another_size(tmp_path):
  theirs = garden(width=8, pooler='token')
  save(theirs, tmp_path)
  model = ours((16, 16, 3), token_learner_location=1, num_tokens=2)
  checkpoints.initialize(model, str(tmp_path), 'backbone')
  rows = model.backbone.position_embedding.embedding.numpy()[0]
  positions, = [v for v in theirs.weights if 'pos_embedding' in v.name]
  np.testing.assert_array_equal(  # The corners; the class token is gone.
      rows[[0, 3, 12, 15]], positions.numpy()[0, 1:])


@pytest.mark.parametrize('options, message', [
    (dict(layer_scale_init_value=.1), 'layer_scale.*which a plain vision'),
    (dict(head_norm=True), r'holds model/layer_with_weights-1/\w+, which a pl'),
])
def test_parts_that_we_do_not_have(tmp_path, options, message):
  path = save(garden(pooler='gap', **options), tmp_path)
  with pytest.raises(errors.UserError, match=message):
    flax_models.build(garden_vit.read(path), ours())


def test_damaged_values(tmp_path):
  path = save(garden(pooler='gap'), tmp_path)
  data = tmp_path / f'{os.path.basename(path)}.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:1000])
  with pytest.raises(errors.UserError, match='cannot be read .* damaged'):
    flax_models.build(garden_vit.read(path), ours())


def test_backbone_alone_has_no_head(tmp_path):
  theirs = garden(pooler='gap')
  path = tf.train.Checkpoint(backbone=theirs.backbone).write(
      str(tmp_path / 'ckpt'))
  with pytest.raises(errors.UserError, match='lacks output_projection/bias'):
    flax_models.build(garden_vit.read(path), ours())
