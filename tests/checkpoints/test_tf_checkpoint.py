"""A checkpoint fits whole or is refused with a list."""

import tensorflow as tf
import pytest

from tf_tokenlearner import run_folder
from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner import errors


def make_model(num_classes=3, num_layers=1, **sizes):
  spec = backbones.ViTSpec(
      'Ti/4', num_layers=num_layers, hidden_size=8, mlp_dim=8, num_heads=2,
      **sizes)
  model = backbones.Classifier(
      backbones.VisionTransformer(spec, (8, 8, 3)), num_classes)
  for i, variable in enumerate(model.variables):
    variable.assign(tf.fill(variable.shape, 0.01 * (i + 1)))
  return model


def save(model, folder, step=7):
  checkpoint = tf.train.Checkpoint(
      model=model, global_step=tf.Variable(step, dtype=tf.int64))
  return checkpoint.write(str(folder / f'ckpt-{step}'))


def test_all_is_restored(tmp_path, capsys):
  saved = make_model()
  fresh = make_model()
  for variable in fresh.variables:
    variable.assign(tf.zeros_like(variable))
  tf_checkpoint.load(fresh, save(saved, tmp_path), 'all')
  for ours, theirs in zip(fresh.variables, saved.variables):
    tf.debugging.assert_equal(ours, theirs)
  assert 'Initialised 19 variables of model' in capsys.readouterr().err


def test_backbone_alone_leaves_the_head(tmp_path):
  saved, fresh = make_model(num_classes=5), make_model()
  for variable in fresh.variables:
    variable.assign(tf.zeros_like(variable))
  tf_checkpoint.load(fresh, save(saved, tmp_path), 'backbone')
  for ours, theirs in zip(
      fresh.backbone.variables, saved.backbone.variables):
    tf.debugging.assert_equal(ours, theirs)
  tf.debugging.assert_equal(fresh.head.kernel, tf.zeros([8, 3]))


def test_difference_names_every_variable(tmp_path):
  path = save(make_model(num_layers=2), tmp_path)
  difference = tf_checkpoint.compare(path, make_model(num_classes=4), 'model')
  assert not difference.missing
  assert difference.other_shape == [
      ('model/head/bias', [3], [4]), ('model/head/kernel', [8, 3], [8, 4])]
  assert len(difference.extra) == 12
  assert all('stages/1/' in name for name in difference.extra)
  text = str(difference)
  assert '  extra in the checkpoint: model/backbone/encoder/stages/1/' in text

  other_way = tf_checkpoint.compare(
      save(make_model(), tmp_path, step=8), make_model(num_layers=2), 'model')
  assert len(other_way.missing) == 12
  assert not other_way.extra


def test_long_lists_are_cut(tmp_path):
  path = save(make_model(num_layers=4), tmp_path)
  text = str(tf_checkpoint.compare(path, make_model(), 'model'))
  assert text.endswith('... and 16 more')


@pytest.mark.parametrize('modules', ['all', 'backbone'])
def test_what_does_not_fit_is_refused_untouched(tmp_path, modules):
  path = save(make_model(num_layers=2), tmp_path)
  model = make_model()
  before = [variable.numpy() for variable in model.variables]
  with pytest.raises(errors.UserError, match='does not fit the model:\n'):
    tf_checkpoint.load(model, path, modules)
  for variable, value in zip(model.variables, before):
    tf.debugging.assert_equal(variable, value)


def test_other_head_gets_a_hint(tmp_path):
  path = save(make_model(), tmp_path)
  with pytest.raises(errors.UserError, match='init_checkpoint_modules='):
    tf_checkpoint.load(make_model(num_classes=9), path, 'all')


def test_missing_and_foreign_checkpoints(tmp_path):
  with pytest.raises(errors.UserError, match='holds no checkpoint'):
    run_folder.find_checkpoint(str(tmp_path))
  with pytest.raises(errors.UserError, match='There is no checkpoint at'):
    run_folder.find_checkpoint(str(tmp_path / 'ckpt-1'))
  foreign = tf.train.Checkpoint(x=tf.Variable(1.)).write(
      str(tmp_path / 'other'))
  with pytest.raises(errors.UserError, match='no global_step'):
    tf_checkpoint.global_step(foreign)
  with pytest.raises(errors.UserError, match='missing in the checkpoint'):
    tf_checkpoint.require_fit(foreign, make_model())
  (tmp_path / 'junk.index').write_text('junk')
  with pytest.raises(errors.UserError, match='cannot be read'):
    tf_checkpoint.compare(str(tmp_path / 'junk'), make_model(), 'model')


def test_global_step(tmp_path):
  assert tf_checkpoint.global_step(save(make_model(), tmp_path, step=12)) == 12
