"""Every format answers through its own client; all of them take minutes."""

import re

from absl import flags
import numpy as np
import pytest
import tensorflow as tf

from tests import end_to_end
from tests import layer_checks
from tf_tokenlearner import errors
from tf_tokenlearner.serving import servable as servable_lib


def run(*arguments):
  values = flags.FlagValues()
  end_to_end.define_flags(values)
  values(['end_to_end.py', '--examples=12', *arguments])
  return end_to_end.run(values)


@pytest.mark.parametrize('fixture, options, clients', [
    # tests/serving/test_hub_module.py asks a classifier of images.
    ('finished_run', ['--quantize=dynamic', '--hub_forms='],
     ['saved_model_cli', 'predict, SavedModel', 'LiteRT dynamic',
      'predict, TFLite dynamic']),
    ('stream_run', ['--quantize=int8', '--hub_forms=feature_vector'],
     ['saved_model_cli', 'predict, SavedModel', 'LiteRT int8',
      'predict, TFLite int8', 'hub.load feature_vector',
      'hub.KerasLayer feature_vector', 'predict --stream, saved_model',
      'predict --stream, tflite'])])
def test_every_client_agrees_with_the_checkpoint(
    request, capfd, tmp_path, fixture, options, clients):
  model_dir = request.getfixturevalue(fixture)
  checkpoint = str(tmp_path / 'ckpt')
  servable = servable_lib.load(*servable_lib.find(model_dir))
  # A model of a few steps gives nearly the same output for every image.
  layer_checks.draw_weights(servable.model)
  tf.train.Checkpoint(model=servable.model).write(checkpoint)
  capfd.readouterr()
  # What the exporters verify, tests/serving holds.
  assert run(f'--model_dir={model_dir}', f'--checkpoint={checkpoint}',
             '--noverify', *options)
  head, _, *lines = capfd.readouterr().out.splitlines()
  assert head.startswith('12 evaluation ')
  assert [line[:36].rstrip() for line in lines] == clients
  for line in lines:
    assert re.search(r' \de-\d+ .* ok$', line)


def test_differing_answers_are_reported(capsys):
  expected = np.float32(np.eye(3))
  asked = end_to_end.Asked(None, [], [], None, np.arange(3), expected, None,
                           (), None, None)
  for received, allowed in ((expected, 1e-4), (expected[::-1], 1.),
                            (expected[:2], 1.)):
    answer = end_to_end.Answer('client', received, expected, allowed)
    assert end_to_end._report(answer, asked) == (received is expected)
  lines = capsys.readouterr().out.splitlines()
  assert [line.split() for line in lines] == [
      ['client', '0e+00', '1.0000', '1.0000', 'ok'],
      ['client', '1e+00', '0.3333', '0.3333', 'DIFFERS'], ['client', 'DIFFERS']]


def test_failing_client_raises_an_error():
  with pytest.raises(errors.UserError, match='ended with 3:\nwhy'):
    end_to_end.call(['sh', '-c', 'echo why >&2; exit 3'])
