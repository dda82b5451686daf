"""The benchmark of pretrained networks, on a tiny one and made-up pictures."""

import json
import pathlib

from absl import flags
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import pretrained
from benchmarks import pretrained_arms
from benchmarks import pretrained_features
from benchmarks import pretrained_merging
from benchmarks import pretrained_models
from benchmarks import pretrained_report
from benchmarks import pretrained_sources
from benchmarks import pretrained_training
from tf_tokenlearner import errors

WEIGHTS = pathlib.Path(__file__).parent / 'golden/pretrained/hf_dinov2'
ARMS = (pretrained_arms.Arm('ridge', 'ridge', 3),
        pretrained_arms.Arm('2 at 1', 'learned', 1, 2, 'mean'))


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  """20 pictures of 32 px; those of one class are brighter in a corner."""
  folder = tmp_path_factory.mktemp('pictures')
  rng = np.random.default_rng(0)
  for i, name in enumerate(pretrained_sources.CLASSES.values()):
    (folder / name).mkdir()
    for k in range(10):
      pixels = rng.integers(0, 100, [32, 32, 1]).astype(np.uint8)
      pixels[:8, :8] += np.uint8(150 * i)
      tf.io.write_file(str(folder / name / f'{k}.png'),
                       tf.io.encode_png(pixels))
  return str(folder)


@pytest.fixture(scope='module')
def features(pictures, tmp_path_factory):
  features = pretrained_features.Features(
      str(tmp_path_factory.mktemp('features')),
      pretrained_models.read_plain(str(WEIGHTS), 32, 2), pictures,
      list(pretrained_sources.CLASSES.values()))
  features.prepare(1)
  return features


def parse_flags(tmp_path, *arguments):
  values = flags.FlagValues()
  pretrained.define_flags(values)
  values(['program', f'--cache_dir={tmp_path}/cache', '--seeds=3',
          f'--results={tmp_path}/results.jsonl', '--image_size=32',
          f'--report_dir={tmp_path}/report', '--epochs=1', '--batch_size=7',
          *arguments])
  return values


def test_trainings_with_a_result_are_not_repeated(
    tmp_path, pictures, monkeypatch):
  monkeypatch.setattr(pretrained_arms, 'ARMS', ARMS)
  monkeypatch.setattr(
      pretrained_sources, 'prepare', lambda folder: (str(WEIGHTS), pictures))
  pretrained.run(parse_flags(tmp_path))
  with open(tmp_path / 'results.jsonl', encoding='utf-8') as file:
    rows = [json.loads(line) for line in file]
  assert [(row['name'], row['seed']) for row in rows] == [
      (arm.name, 3) for arm in ARMS]
  for row in rows:
    assert 0 <= row['auc'] <= 1 and row['config']['scored'] == 'test'
    assert str(tmp_path) not in json.dumps(row)
  assert rows[1]['macs'] < rows[0]['macs']
  report = (tmp_path / 'report' / 'pretrained.md').read_text(encoding='utf-8')
  assert f'| 2 at 1 | 0 | {100 * rows[1]["accuracy"]:.2f} | ' in report
  assert 'Fewer than two seeds so far: 8 learned tokens' in report

  monkeypatch.setattr(pretrained_sources, 'prepare', None)  # Not called.
  pretrained.run(parse_flags(tmp_path))
  with pytest.raises(TypeError):
    pretrained.run(parse_flags(tmp_path, '--arms=ridge', '--select'))


def test_unknown_arms_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='Unknown arm \'8 at 5\'.*8 at 6'):
    pretrained.run(parse_flags(tmp_path, '--arms=8 at 5'))


@pytest.mark.parametrize('kind', ['learned', 'pooled', 'merged'])
def test_trained_part_continues_the_frozen_one(features, kind, monkeypatch):
  # Merging nothing gives the plain network.
  monkeypatch.setattr(pretrained_models, 'merged_count', lambda plain: 0)
  features.prepare_merged(1, 0)
  arm = pretrained_arms.Arm('', kind, 1, 2)
  part = pretrained_models.make(
      arm, features, 'token_and_mean', np.arange(20))
  head = part.model.head
  head.kernel.assign(tf.reshape(
      tf.linspace(-1., 1., tf.size(head.kernel)), head.kernel.shape))
  pixels = next(iter(features._pixels()))
  np.testing.assert_allclose(  # Features are stored as float16.
      part.logits(tf.cast(part.inputs[:len(pixels)], tf.float32)),
      part.model(pixels), atol=2e-2)
  trained = {id(variable) for variable in part.variables()}
  frozen = {v.name for v in part.model.variables if id(v) not in trained}
  assert all('block_0' in name or 'embedding' in name or 'class_token' in name
             for name in frozen) and frozen


def test_features_continue_from_earlier_ones(features):
  features.prepare(3)
  model = features.model.backbone
  x = model(next(iter(features._pixels())))['features']
  np.testing.assert_allclose(
      features.read('last')[:len(x)],
      tf.concat([x[:, 0], tf.reduce_mean(x[:, 1:], 1)], 1), atol=2e-2)


def test_top_tokens_are_those_with_most_attention():
  tokens = np.arange(5.)[np.newaxis, :, np.newaxis]
  top = pretrained_features.top_tokens(
      tokens, np.array([[.1, .4, .2, .3]]), 2)
  assert top.ravel().tolist() == [0., 2., 4.]


def test_attention_of_the_class_token_sums_to_one_with_its_own(features):
  attention = features.read('attention_1')
  assert attention.shape == (20, 16)
  assert (attention.sum(1) < 1).all() and (attention > 0).all()


def test_merging_nothing_is_the_block(features):
  block = features.model.backbone.encoder.stages[0]
  x = tf.random.stateless_normal([2, 17, 24], [0, 1])
  y, sizes = pretrained_merging.run_block(block, x, tf.ones([2, 17]), 0)
  expected = block(x).numpy()  # The proposing tokens come first.
  np.testing.assert_allclose(
      y, np.concatenate([expected[:, ::2], expected[:, 1::2]], 1), atol=1e-5)
  assert (sizes.numpy() == 1).all()


def test_most_similar_tokens_merge_to_their_mean_by_size():
  # Tokens at even positions propose; the class token, the first, does not.
  x = tf.constant([[[0.], [1.], [5.], [2.], [9.]]])
  sizes = tf.constant([[1., 1., 1., 3., 1.]])
  keys = tf.constant([[[0., 1.], [1., 0.], [1., 1.], [0., 1.], [1., .1]]])
  merged, new_sizes = pretrained_merging.merge(x, sizes, keys, 1)
  # Position 4 (value 9) is most similar to position 1 (value 1).
  assert merged[0, :, 0].numpy().tolist() == [0., 5., 5., 2.]
  assert new_sizes[0].numpy().tolist() == [1., 1., 2., 3.]
  merged, new_sizes = pretrained_merging.merge(x, sizes, keys, 9)
  assert merged.shape[1] == pretrained_merging.tokens_after(5, 9) == 3
  assert new_sizes.numpy().sum() == 7


def test_cost_of_merging_nothing_is_that_of_the_plain_blocks(features):
  assert pretrained_merging.macs(3, 17, 24, 48, 3, 0) == 3 * (
      4 * 17 * 24**2 + 2 * 17**2 * 24 + 2 * 17 * 24 * 48)
  plain = pretrained_models.macs(
      pretrained_arms.Arm('', 'plain'), features.model)
  count = pretrained_models.merged_count(features.model)
  merged = pretrained_models.macs(
      pretrained_arms.Arm('', 'merged'), features.model)
  limit = pretrained_models.macs(
      pretrained_arms.Arm('', 'learned', 1, 8), features.model)
  assert count > 0 and merged <= limit < plain


def test_splits_hold_out_the_same_share_of_each_class():
  files, labels = [str(i) for i in range(30)], np.array([0] * 20 + [1] * 10)
  train, test = pretrained_training.split(files, labels, .3, seed=1)
  assert np.bincount(labels[test]).tolist() == [6, 3]
  assert sorted([*train, *test]) == list(range(30))
  assert test.tolist() != pretrained_training.split(
      files, labels, .3, seed=2)[1].tolist()


def test_scores_by_hand():
  assert pretrained_training.scores(
      np.array([0, 0, 0, 1]), np.array([-1., 2., -3., 1.])) == {
          'accuracy': .75, 'balanced_accuracy': pytest.approx(5 / 6),
          'auc': pytest.approx(2 / 3)}


def test_onnx_weights_get_the_names_of_dinov2():
  weight = np.arange(6.).reshape(2, 3)
  anonymous = {'onnx::MatMul_7': weight,
               'onnx::Concat_1': np.zeros([1, 1, 4]),
               'onnx::Reshape_2': np.ones([1, 9, 4]),
               'onnx::Unsqueeze_3': np.zeros([1]), 'decoder.bias': weight}
  named = {'backbone.encoder.layer.0.mlp.fc1.bias': np.zeros(8),
           'backbone.embeddings.patch_embeddings.projection.weight':
               np.zeros([4, 3, 2, 2])}
  tensors = pretrained_sources.to_dinov2(
      {**anonymous, **named},
      {'/backbone/encoder/layer.0/mlp/fc1/MatMul': ['x', 'onnx::MatMul_7'],
       '/backbone/encoder/layer.0/attention/attention/MatMul': ['x', 'y'],
       '/decoder/MatMul': ['x', 'onnx::MatMul_7']})
  assert set(tensors) == {
      'encoder.layer.0.mlp.fc1.weight', 'embeddings.position_embeddings',
      *(name[len('backbone.'):] for name in named)}
  assert (tensors['encoder.layer.0.mlp.fc1.weight'] == weight.T).all()
  assert tensors['embeddings.position_embeddings'][0, :, 0].tolist() == [
      0., *[1.] * 9]
  config = pretrained_sources.config(tensors)
  assert (config['image_size'], config['mlp_ratio']) == (6, 2)


@pytest.mark.parametrize('others, least, word', [
    ([.80, .81, .83], 0., 'held'),
    ([.95, .97, .97], 0., 'did not hold'),
    ([.90, .92, .925], 0., 'undecided, leaning no'),
    ([.90, .92, .925], -1., 'undecided, leaning yes')])
def test_verdict_compares_equal_seeds(others, least, word):
  ours = {0: .90, 1: .91, 2: .92, 7: 0.}
  assert pretrained_report.verdict(
      ours, dict(enumerate(others)), least)[1] == word


def test_verdict_gives_the_interval_of_pairs():
  # By hand: differences 10, 10, 9; s = 0.577, t = 4.3027, 2 degrees of freedom.
  text, _ = pretrained_report.verdict(
      {0: .90, 1: .91, 2: .92}, {0: .80, 1: .81, 2: .83}, 0.)
  assert text == '+9.67 (+8.23 to +11.10)'


def test_report_shows_every_arm_and_claim(tmp_path):
  recipe = {'epochs': 8}
  results = {arm.name: [
      {'seed': seed, 'accuracy': .8 + .01 * i, 'balanced_accuracy': .8,
       'auc': .9 + .001 * i + .01 * seed, 'macs': 10**6 * i, 'cpu_seconds': 5.,
       'commit': 'abc', 'machine': 'one',
       'config': {'kind': arm.kind, 'recipe': recipe, 'image_size': 224}}
      for seed in (0, 1)] for i, arm in enumerate(pretrained_arms.ARMS, 1)}
  times = {'milliseconds': {'8 at 6': {'TFLite': 1.25}}, 'commit': 'abc',
           'machine': 'one', 'config': {'rounds': 20}}
  command = {'accuracy': .9, 'balanced_accuracy': .88, 'auc': .95,
             'seconds': 150., 'commit': 'abc', 'machine': 'one',
             'config': {'experiment': 'tokenlearner_finetune'}}
  pretrained_report.write(str(tmp_path), results, times,
                          [{**command, 'seed': seed} for seed in (0, 1)])
  text = (tmp_path / 'pretrained.md').read_text(encoding='utf-8')
  assert text.count('| **') == len(pretrained_arms.CLAIMS)
  assert '| ridge | 1 | 81.00 ± 0.00 | 80.00 ± 0.00 | 90.60 ± ' in text
  assert '| 8 at 6 | 1.2 |' in text
  assert '| 1 | 90.00 | 88.00 | 95.00 | 2.5 |' in text
  assert (tmp_path / 'pretrained.png').read_bytes().startswith(b'\x89PNG')
  compared = {name for claim in pretrained_arms.CLAIMS
              for name in (claim.arm, claim.other)}
  assert compared <= set(results)
