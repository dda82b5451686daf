"""Tests of starting from a checkpoint of any format."""

import importlib.util
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tests.backbones import tiny_clips
from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import backbones
from tf_tokenlearner import checkpoints
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner import errors
from tf_tokenlearner import run_folder

SCENIC = ['scenic_checkpoint_msgpack', 'scenic_checkpoint_orbax',
          'scenic_checkpoint_msgpack_optimizer_target']


@pytest.fixture(scope='module', name='plain')
def fixture_plain():
  """A model that refused checkpoints leave as it is."""
  return tiny_checkpoints.classifier()


def npz(tmp_path, **options):
  return tiny_checkpoints.write_vit(tmp_path / 'vit.npz', **options)


def test_public_weights(tmp_path, capsys):
  path = npz(tmp_path)
  model = tiny_checkpoints.classifier(
      (16, 8, 3), token_learner_location=1, num_tokens=2)
  assert checkpoints.initialize(model, path, 'backbone') == path
  assert capsys.readouterr().err.splitlines() == [
      f'Loaded from {path} (public ViT weights):',
      '  patch_embedding                 the same',
      '  position_embedding              2 x 2 positions resized to 4 x 2',
      '  encoder/block_0..1              the same',
      '  encoder/norm                    the same',
      '  fresh: encoder/learn_1, head',
      '  not used: class_token, head',
  ]


def test_name_does_not_matter(tmp_path, capsys):
  path = tmp_path / 'weights.bin'
  os.rename(npz(tmp_path, class_token=False), path)
  checkpoints.initialize(tiny_checkpoints.classifier(), str(path))
  assert '(public ViT weights)' in capsys.readouterr().err


def pretrained_model(video=None, **options):
  """A model that starts from the golden folder hf_vit."""
  sizes = dict(num_layers=3, hidden_size=24, mlp_dim=48, num_heads=3,
               activation='gelu', norm_epsilon=1e-12, **options)
  if video is None:
    backbone = backbones.VisionTransformer(
        backbones.ViTSpec(patch_size=[8, 8], **sizes), (32, 32, 3))
  else:
    spec_class = (backbones.FactorizedViViTSpec
                  if video is backbones.FactorizedVideoVisionTransformer
                  else backbones.ViViTSpec)
    backbone = video(
        spec_class(tubelet_size=[2, 8, 8], **sizes), (4, 32, 48, 3))
  return backbones.Classifier(backbone, 2)


@pytest.mark.parametrize('video', [
    None, backbones.VideoVisionTransformer,
    backbones.FactorizedVideoVisionTransformer])
def test_pretrained_weights(video, capsys):
  path = str(goldens.FOLDER / 'pretrained' / 'hf_vit')
  model = pretrained_model(video, token_learner_location=1, num_tokens=3)
  assert checkpoints.initialize(model, path, 'backbone') == path
  said = capsys.readouterr().err
  assert f'Loaded from {path} (pretrained weights):' in said
  assert '/learn_1' in said and 'not used: class_token, head' in said
  source = checkpoints.from_pretrained(path)
  encoder = getattr(model.backbone, 'encoder', None)
  stages = (encoder or model.backbone.spatial_encoder).stages
  for ours, block in ((0, 0), (2, 1), (3, 2)):
    for now, then in zip(
        stages[ours].get_weights(),
        source.backbone.encoder.stages[block].get_weights()):
      np.testing.assert_array_equal(now, then)


def test_pretrained_weights_that_do_not_fit(tmp_path):
  model = pretrained_model(token_learner_location=1)
  model.backbone.encoder.stages[0].activation = 'gelu_tanh'
  before = model.get_weights()
  path = str(goldens.FOLDER / 'pretrained' / 'hf_vit')
  with pytest.raises(errors.UserError, match='activation=gelu in the checkp'):
    initialization.initialize(model, path, 'backbone')
  pickle = tmp_path / 'pytorch_model.bin'
  pickle.write_bytes(b'\x80\x02}q\x00.')
  for source in (str(pickle), str(tmp_path)):
    for check in (initialization.find, lambda path: initialization.initialize(
        model, path)):
      with pytest.raises(errors.UserError, match='save_file') as caught:
        check(source)
      assert '\n' not in str(caught.value)
  for value, unchanged in zip(model.get_weights(), before):
    np.testing.assert_array_equal(value, unchanged)


@pytest.mark.parametrize('name', SCENIC)
def test_scenic(name, capsys):
  if 'orbax' in name and importlib.util.find_spec('tensorstore') is None:
    pytest.skip('TensorStore (the extra orbax) is not installed')
  golden = goldens.read('vit_token_learner_v11')
  kwargs = golden.kwargs
  spec = backbones.ViTSpec(
      'Ti/8', num_layers=kwargs['num_layers'], mlp_dim=kwargs['mlp_dim'],
      hidden_size=kwargs['hidden_size'], num_heads=kwargs['num_heads'],
      patch_size=kwargs['tokenizer']['patches']['size'],
      token_learner_location=kwargs['tokenizer']['tokenlearner_loc'],
      num_tokens=kwargs['tokenizer']['num_tokens'])
  images = golden.inputs['images']
  model = backbones.Classifier(
      backbones.VisionTransformer(spec, images.shape[1:]),
      kwargs['num_classes'])
  path = checkpoints.initialize(model, str(goldens.FOLDER / name))
  assert path.endswith('/checkpoint_1234')
  assert '(checkpoint of Scenic):' in capsys.readouterr().err
  np.testing.assert_allclose(
      model(images), golden.outputs['logits'], atol=1e-5)


def test_run_of_ours_into_one_with_token_learner(tmp_path, capsys):
  theirs = tiny_checkpoints.classifier()
  path = tiny_checkpoints.write_run(tmp_path, theirs)
  model = tiny_checkpoints.classifier(token_learner_location=1, num_tokens=3)
  assert checkpoints.initialize(model, str(tmp_path)) == path
  said = capsys.readouterr().err
  assert f'{path} (run of this project):' in said
  assert '  fresh: encoder/learn_1\n' in said
  for ours, block in ((0, 0), (2, 1)):
    for now, then in zip(
        model.backbone.encoder.stages[ours].get_weights(),
        theirs.backbone.encoder.stages[block].get_weights()):
      np.testing.assert_array_equal(now, then)


def test_best_checkpoint_of_a_run(tmp_path):
  """Evaluation and export take the best one, too."""
  run = run_folder.Run(
      str(tmp_path), 'any', {'trainer': {
          'best_checkpoint_export_subdir': 'best_ckpt'}}, ('a', 'b'))
  run_folder.save(run)
  model = tiny_checkpoints.classifier()
  save = lambda prefix: tf.train.Checkpoint(model=model).save(str(prefix))
  latest = save(tmp_path / 'ckpt')
  assert initialization.find(str(tmp_path)) == latest
  best = save(tmp_path / 'best_ckpt' / 'best_ckpt')
  assert initialization.find(str(tmp_path)) == best
  assert initialization.find(latest) == latest


@pytest.mark.parametrize('name', ['npz', 'run', *SCENIC])
def test_brackets_in_paths(tmp_path, name):
  """TensorFlow takes paths for patterns when it searches checkpoints."""
  if 'orbax' in name and importlib.util.find_spec('tensorstore') is None:
    pytest.skip('TensorStore (the extra orbax) is not installed')
  folder = tmp_path / 'sweep [lr=1e-3] *?{a,b}'
  folder.mkdir()
  model = tiny_checkpoints.classifier()
  if name == 'npz':
    path = npz(folder, class_token=False)
  elif name == 'run':
    path = str(folder)
    tiny_checkpoints.write_run(folder, model)
  else:
    path = str(folder / 'x')
    shutil.copytree(goldens.FOLDER / name, path)
  source = initialization.read(path, model)
  assert source.path.startswith(str(folder))
  assert source.model.count_params()


def test_run_of_other_heads_is_refused(tmp_path):
  """The two differ although their variables have the same shapes."""
  path = tiny_checkpoints.write_run(tmp_path, tiny_checkpoints.classifier())
  with pytest.raises(errors.UserError, match='block_0: num_heads=2 in the '
                     'checkpoint, 4 in the model'):
    checkpoints.initialize(tiny_checkpoints.classifier(num_heads=4), path)


def test_new_token_learner_starts_from_examples(tmp_path, capsys):
  path = npz(tmp_path, grid=(4, 4))
  model = tiny_checkpoints.classifier(
      (16, 16, 3), token_learner_location=1, num_tokens=4)
  asked = []

  def examples(count):
    asked.append(count)
    return np.random.default_rng(0).normal(size=[6, 16, 16, 3]).astype('f4')

  checkpoints.initialize(model, path, 'backbone', examples=examples)
  assert asked == [64]
  assert ('note: encoder/learn_1 starts as means of 4 parts of the map, '
          in capsys.readouterr().err)


def test_checkpoint_of_ours_alone(tmp_path, capsys):
  theirs = tiny_checkpoints.classifier()
  path = tf.train.Checkpoint(model=theirs).write(str(tmp_path / 'ckpt-1'))
  model = tiny_checkpoints.classifier()
  checkpoints.initialize(model, path)
  assert 'Initialised 31 variables of model' in capsys.readouterr().err
  for now, then in zip(model.get_weights(), theirs.get_weights()):
    np.testing.assert_array_equal(now, then)


def test_model_that_is_no_transformer(tmp_path, capsys):
  """It starts from its own class only, variable by variable."""
  theirs = backbones.Classifier(tiny_clips.model(), 2)
  params = """
      task:
        model:
          backbone:
            type: token_learner_bottleneck
            token_learner_bottleneck: {}
          input_size: [4, 64, 96, 3]
          num_classes: 2
      """
  tiny_checkpoints.write_run(tmp_path / 'run', theirs, params)
  model = backbones.Classifier(tiny_clips.model(), 2)
  model.head.bias.assign([3., 4.])
  checkpoints.initialize(model, str(tmp_path / 'run'), 'backbone')
  assert 'of model/backbone from' in capsys.readouterr().err
  np.testing.assert_array_equal(model.head.bias, [3., 4.])
  image = tiny_checkpoints.classifier()
  with pytest.raises(errors.UserError, match='Weights of BottleneckTransformer '
                     'cannot start VisionTransformer'):
    checkpoints.initialize(image, str(tmp_path / 'run'))
  tiny_checkpoints.write_run(tmp_path / 'image', image)
  for path in (str(tmp_path / 'image'), npz(tmp_path),
               str(goldens.FOLDER / SCENIC[0])):
    with pytest.raises(errors.UserError, match='BottleneckTransformer cannot '
                       'start from an image model'):
      checkpoints.initialize(model, path)


@pytest.mark.parametrize('make, message', [
    (lambda path: None, 'There is no checkpoint at'),
    (lambda path: path.mkdir(), 'holds no checkpoint: expected a run of this '
     r'project .* named checkpoint_STEP'),
    (lambda path: path.write_bytes(b'GIF89a'),
     'is not a complete msgpack file'),
    (lambda path: path.write_bytes(b''), 'is not a complete msgpack file'),
    (lambda path: path.write_bytes(b'PK\x03\x04 and no more'),
     'is not a complete .npz file'),
])
def test_what_is_no_checkpoint(tmp_path, plain, make, message):
  make(tmp_path / 'x')
  with pytest.raises(errors.UserError, match=message):
    checkpoints.initialize(plain, str(tmp_path / 'x'))


def test_one_file_of_a_checkpoint(tmp_path, plain):
  path = tf.train.Checkpoint(model=plain).write(str(tmp_path / 'ckpt-1'))
  for ending in ('.index', '.data-00000-of-00001'):
    with pytest.raises(errors.UserError, match='give its path without the '
                       'ending'):
      checkpoints.initialize(plain, path + ending)


@pytest.mark.parametrize('in_a_run', [True, False])
@pytest.mark.parametrize('damage, message', [
    (lambda data: data[:len(data) // 2], r'cannot be read \(Read less bytes'),
    (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
     r'cannot be read \(TensorBundle .*Checksum does not match')])
def test_damaged_values(tmp_path, plain, in_a_run, damage, message):
  """The list of variables is complete."""
  before = plain.get_weights()
  theirs = tiny_checkpoints.classifier()
  path = (tiny_checkpoints.write_run(tmp_path, theirs) if in_a_run else
          tf.train.Checkpoint(model=theirs).write(str(tmp_path / 'ckpt')))
  data = tmp_path / f'{os.path.basename(path)}.data-00000-of-00001'
  data.write_bytes(damage(data.read_bytes()))
  with pytest.raises(errors.UserError, match=message) as caught:
    checkpoints.initialize(plain, path)
  assert str(caught.value).endswith('It is damaged: copy it again.')
  for now, then in zip(plain.get_weights(), before):
    np.testing.assert_array_equal(now, then)


def test_checkpoint_of_something_else(tmp_path, plain):
  path = tf.train.Checkpoint(x=tf.Variable(1.)).write(str(tmp_path / 'ckpt'))
  with pytest.raises(errors.UserError, match='is a checkpoint of neither this '
                     "project nor the Model Garden's ViT"):
    checkpoints.initialize(plain, path)


def test_unknown_modules(plain):
  with pytest.raises(errors.UserError, match="'head'. Known: "):
    checkpoints.initialize(plain, 'anything', 'head')
