"""The benchmarks run, compare equal models and refuse invalid flags."""

import re

from absl import flags
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import contenders
from benchmarks import inference
from benchmarks import streaming
from benchmarks import timing
from benchmarks import training
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.backbones import variants

MODELS = ['Model Garden ViT', 'ours, plain', 'ours, 2 tokens at 1']


@pytest.fixture(autouse=True)
def tiny_variant(monkeypatch):
  """Adds the tiny size N."""
  monkeypatch.setitem(variants.SIZES, 'N', variants.Size(
      num_layers=2, hidden_size=12, mlp_dim=20, num_heads=3))


def parse_flags(script, *arguments):
  values = flags.FlagValues()
  script.define_flags(values)
  values(['program', '--variant=N/16', '--image_size=32', '--num_tokens=2',
          '--location=1', '--rounds=1', *arguments])
  return values


def run(script, *arguments):
  """Returns the head lines and the rows (first columns, model, numbers)."""
  lines = script.run(parse_flags(script, *arguments)).splitlines()
  assert max(map(len, lines)) <= 80
  rows = []
  for line in lines[6:]:
    before, name, after = re.split(f'({"|".join(MODELS)})', line)
    rows.append((before.split(), name, [float(x) for x in after.split()]))
  return lines[:3], rows


def test_inference_table():
  head, rows = run(inference, '--batch_sizes=1,3')
  assert head[0] == 'Inference, N/16 at 32 px, float32'
  assert head[1].endswith(f'TensorFlow {tf.__version__}')
  assert head[2].startswith('Medians of 1 rounds; the floor is one matrix ')
  assert [row[:2] for row in rows] == [
      ([mode, batch], model)
      for mode in ('graph', 'xla') for batch in '13' for model in MODELS]
  for before, model, (milliseconds, speed_up, floor, ratio) in rows:
    assert min(milliseconds, speed_up, ratio) > 0 and floor >= 0
    if model == MODELS[0]:
      assert speed_up == 1, before


def test_training_table():
  head, rows = run(training, '--modes=graph', '--batch_size=2')
  assert head[0] == 'Training, N/16 at 32 px, batch 2, float32, AdamW'
  assert [row[:2] for row in rows] == [(['graph'], name) for name in MODELS]
  assert rows[0][2][2] == 1
  for _, _, (milliseconds, examples, speed_up, ratio) in rows:
    assert examples == pytest.approx(2000 / milliseconds, rel=0.5)
    assert min(speed_up, ratio) > 0


def test_timed_training_step_lowers_the_loss():
  model = contenders.make('N/16', 32, 2, 1)[2].model
  images = tf.random.uniform([2, 32, 32, 3], -1., 1., seed=1)
  step = training.make_step(model, 'graph', images, tf.constant([3, 5]))
  losses = [step() for _ in range(5)]
  np.testing.assert_allclose(losses[0], np.log(1000), rtol=1e-5)
  assert losses[-1] < losses[0]


def as_ours(weights):
  """Converts weights of the Garden's classifier to our plain classifier."""
  first, blocks, last = weights[:3], weights[3:-4], weights[-4:]
  result = list(first)
  for start in range(0, len(blocks), 16):
    (norm_1, norm_1_shift, hidden, hidden_bias, output, output_bias, norm_2,
     norm_2_shift, *qkv, attend, attend_bias) = blocks[start:start + 16]
    width = len(norm_1)
    result += [
        norm_1, norm_1_shift,
        np.concatenate([w.reshape([width, width]) for w in qkv[::2]], axis=1),
        np.concatenate([w.reshape([width]) for w in qkv[1::2]]),
        attend.reshape([width, width]), attend_bias, norm_2, norm_2_shift,
        hidden, hidden_bias, output, output_bias]
  return [*result, *last]


def test_garden_and_our_plain_model_compute_the_same_function():
  garden, plain, _ = contenders.make('N/16', 32, 2, 1)
  assert garden.model.count_params() == plain.model.count_params()
  assert garden.macs == plain.macs
  random = np.random.default_rng(0)
  garden.model.set_weights([
      random.normal(size=w.shape, scale=0.3) for w in garden.model.weights])
  plain.model.set_weights(as_ours(garden.model.get_weights()))
  images = random.uniform(-1, 1, [2, 32, 32, 3]).astype(np.float32)
  theirs = garden.model(images)
  assert np.std(theirs) > 0.1
  np.testing.assert_allclose(plain.model(images), theirs, atol=2e-5)


def test_contenders_have_the_macs_that_are_reported():
  _, _, tokens = contenders.make('N/16', 48, 2, 1)
  spec = backbones.ViTSpec('N/16', num_tokens=2, token_learner_location=1)
  expected = cost.classifier_cost(spec, (48, 48, 3), 1000)
  assert (tokens.macs, tokens.model.count_params()) == (
      expected.macs, expected.parameters)


def test_slow_round_does_not_change_the_median(monkeypatch):
  """Every round calls every function once."""
  now, calls = [0.], []
  monkeypatch.setattr(timing.time, 'perf_counter', lambda: now[0])

  def function(name, seconds):
    def call():
      calls.append(name)
      # Two calls warm up; then the second round is the slow one.
      now[0] += seconds * (10 if calls.count(name) == 4 else 1)
    return call

  medians = timing.interleave(
      {'a': function('a', 2.), 'b': function('b', 3.)}, rounds=3)
  assert ''.join(calls) == 'aabb' + 'ab' * 3
  assert medians == {'a': 2., 'b': 3.}


@pytest.mark.parametrize('macs, expected', [
    (1, 64**3), (1000**3, 1024**3), (128**3, 128**3)])
def test_one_matmul_has_about_the_given_macs(macs, expected):
  function, macs = timing.one_matmul(macs)
  assert macs == expected
  assert np.isfinite(function())


@pytest.mark.parametrize('script, argument, message', [
    (inference, '--modes=xls', "Unknown mode 'xls'. Known: xla, graph"),
    (training, '--modes=', '--modes is empty; give one or more of graph, xla'),
    (inference, '--batch_sizes=1,x', "at least 1, such as 1,8; got '1,x'"),
    (inference, '--batch_sizes=0', "at least 1, such as 1,8; got '0'"),
    (inference, '--batch_sizes=', "at least 1, such as 1,8; got ''"),
    (training, '--location=2', 'token_learner_location=2 is outside 0..1'),
    (training, '--image_size=40', 'height 40 is no multiple'),
])
def test_invalid_flags_are_refused(script, argument, message):
  with pytest.raises(errors.UserError, match=re.escape(message)):
    script.run(parse_flags(script, argument))


def test_help_shows_every_flag():
  """cli lists the flags that __main__ defines."""
  for script in (inference, training):
    values = flags.FlagValues()
    script.define_flags(values)
    for name in ('variant', 'image_size', 'rounds', 'modes', 'num_tokens',
                 'location'):
      assert values.find_module_defining_flag(name) == '__main__'


def test_streaming_table_and_equal_logits():
  lines = streaming.run(parse_flags(
      streaming, '--variant=N/16x2', '--num_frames=4',
      '--modes=graph,tflite', '--num_tokens=1')).splitlines()
  assert max(map(len, lines)) <= 80
  assert lines[0] == (
      'N/16x2, 1 tokens a frame at 1, clips of 4 x 32 x 32, float32')
  difference = re.search(r'difference of logits (\S+)\.$', lines[2]).group(1)
  assert 0 <= float(difference) <= 1e-5
  modes = []
  for mode, *numbers in map(str.split, lines[6:]):
    modes.append(mode)
    step, clip, ratio, rate = map(float, numbers)
    assert min(step, clip, ratio, rate) > 0
  assert modes == ['graph', 'tflite']
