"""The arithmetic of each layer equals the built layer and the profiler."""

import pytest
import tensorflow as tf

from tests.analysis import profiler
from tests.backbones import tiny
from tf_tokenlearner.analysis import counts
from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner import layers

N, S, WIDTH = 6, 4, tiny.WIDTH


def check(count, layer, *input_size):
  layer(tf.zeros([1, *input_size]))
  assert count.parameters == layer.count_params()
  profiler.check_macs([counts.row('layer', [], count)], layer, input_size)


def test_transformer_block():
  check(counts.transformer_block(N, WIDTH, 12),
        layers.TransformerEncoderBlock(2, 12), N, WIDTH)


@pytest.mark.parametrize('spec', [
    tiny.V10, tiny.V11, backbones.TokenLearnerSpec(
        'v1.0', num_convolutions=1, kernel_size=5)],
    ids=['v1.0', 'v1.1', 'one_convolution'])
def test_token_learner(spec):
  check(counts.token_learner(spec, N, S, WIDTH),
        encoder_lib.make_token_learner(spec, S, tiny.GRID, 0.), N, WIDTH)


@pytest.mark.parametrize('fuser, count', [
    (layers.TokenFuser(6), counts.token_fuser(6, N, S, WIDTH)),
    (layers.TokenReprojection(2), counts.token_reprojection(N, S, WIDTH)),
], ids=['token_fuser', 'reprojection'])
def test_fuser(fuser, count):
  fuse = lambda x: fuser(x[:, :S], x[:, S:])
  profiler.check_macs(
      [counts.row('layer', [], count)], fuse, (S + N, WIDTH))
  assert count.parameters == fuser.count_params()


def test_convolution():
  check(counts.convolution(4 * 6, (3, 5), 7, 2),
        layers.PatchEmbedding(2, (3, 5)), 12, 30, 7)


def test_counts_add_up():
  one = counts.Count(parameters=3, macs=5)
  assert one + counts.Count(macs=2) == counts.Count(3, 7)
  assert one.run(4) == counts.Count(3, 20)
  rows = [counts.row('a', [2, 3], one), counts.row('b', [], one.run(4))]
  assert rows[0] == ('a', '[2, 3]', 3, 5)
  cost = counts.Cost(tuple(rows))
  assert (cost.parameters, cost.macs) == (6, 25)


@pytest.mark.parametrize('use_token_fuser', [False, True])
def test_encoder_of_a_clip(use_token_fuser):
  """Learning and fusing run once per frame, attention sees all frames."""
  spec = tiny.spec(token_learner_location=2, num_tokens=5,
                   use_token_fuser=use_token_fuser).completed(tiny.IMAGE)
  encoder = backbones.Encoder(spec, grid_size=(2, 4), num_frames=3)
  encoder.build([None, 24, WIDTH])
  rows = counts.encoder_rows(spec, num_positions=8, num_frames=3)
  assert [(row.name, row.parameters) for row in rows] == profiler.parameters_of(
      [*encoder.stages, encoder.norm])
  assert rows[-1].output == ('[24, 8]' if use_token_fuser else '[15, 8]')
  profiler.check_macs(rows, encoder, (24, WIDTH))
