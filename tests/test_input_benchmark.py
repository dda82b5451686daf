"""The input benchmark runs on generated data and compares like with like."""

import re

from absl import flags
import numpy as np
import pytest
import tensorflow as tf

from benchmarks import input_data
from benchmarks import input_pipeline
from tf_tokenlearner import errors

TINY = ('--image_size=16', '--image_width=40', '--frame_width=32',
        '--num_frames=3', '--stored_frames=6', '--num_images=6',
        '--num_videos=3', '--image_batch_size=4', '--clip_batch_size=2',
        '--batches=2', '--rounds=1')


def parse_flags(*arguments):
  values = flags.FlagValues()
  input_pipeline.define_flags(values)
  values(['program', *TINY, *arguments])
  return values


def test_table_holds_rates_and_their_ratios():
  lines = input_pipeline.run(parse_flags()).splitlines()
  assert max(map(len, lines)) <= 80
  assert lines[0] == 'Training input at 16 px, clips of 3 frames'
  assert lines[1].endswith(f'TensorFlow {tf.__version__}')
  assert lines[2] == 'Medians of 1 rounds of 2 batches'
  assert re.fullmatch(
      r'Stored: images of [\d,]+ bytes, clips of [\d,]+ bytes a frame',
      lines[3])
  rows = [re.fullmatch(r'(\w+) +(\w+(?: \w+)*) +([\d.]+) +([\d.]+) +([\d.]+)',
                       line).groups() for line in lines[7:]]
  assert [row[:2] for row in rows] == [
      (kind, name) for kind in ('images', 'clips')
      for name in ('decoder alone', 'training')]
  for row in rows:
    rate, milliseconds, share = map(float, row[2:])
    # The time is rounded to hundredths.
    assert milliseconds == pytest.approx(1e3 / rate, abs=.0051, rel=1e-3)
    assert share > 0
  assert rows[0][4] == rows[2][4] == '1.00'


def test_decoder_reads_the_images_of_the_pipelines(tmp_path):
  values = parse_flags()
  images = input_data.images(values, str(tmp_path / 'images'))
  clips = input_data.clips(values, str(tmp_path / 'clips'))
  pixels, _ = next(iter(images.datasets['training']))
  assert pixels.shape == [4, 16, 16, 3] and np.std(pixels) > .2
  pixels, _ = next(iter(clips.datasets['training']))
  assert pixels.shape == [2, 3, 16, 16, 3] and np.std(pixels) > .2
  for contenders, frames in ((images, 4), (clips, 6)):
    values = next(iter(contenders.datasets[input_data.DECODER]))
    assert values.shape == [frames] and values.dtype == tf.uint8
    assert 300 < contenders.bytes < 3000


@pytest.mark.parametrize('argument, message', [
    ('--kinds=image', "Unknown kind 'image'. Known: images, clips"),
    ('--kinds=', '--kinds is empty; give one or more of images, clips')])
def test_invalid_kinds_are_refused(argument, message):
  with pytest.raises(errors.UserError, match=message):
    input_pipeline.run(parse_flags(argument))


def test_help_shows_every_flag():
  """cli lists the flags that __main__ defines."""
  values = flags.FlagValues()
  input_pipeline.define_flags(values)
  for name in ('kinds', 'rounds', 'batches', 'num_frames', 'quality'):
    assert values.find_module_defining_flag(name) == '__main__'
