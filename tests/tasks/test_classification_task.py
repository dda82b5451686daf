"""What the tasks of images and of videos share: how they start."""

import numpy as np
import pytest
from official.core import task_factory

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments


@pytest.mark.parametrize('kind, size', [
    ('digits', (8, 8, 1)), ('moving_digits', (4, 16, 16, 1))])
def test_examples_to_start_from_are_the_same_everywhere(request, kind, size):
  overrides = request.getfixturevalue(f'tiny_{kind}')
  params = experiments.parse(f'tokenlearner_{kind}', [overrides])
  experiments.resolve(params)
  first, second = (
      task_factory.get_task(params.task).examples(5) for _ in range(2))
  assert first.shape == (5, *size)
  assert first.std() > .1
  np.testing.assert_array_equal(first, second)


def test_new_token_learner_starts_as_the_config_says(
    tiny_digits, tmp_path, capsys):
  from tf_tokenlearner.training import runner
  backbone = 'task.model.backbone.token_learner_vit.token_learner_location'
  plain = str(tmp_path / 'plain')
  runner.train('tokenlearner_digits', experiments.parse(
      'tokenlearner_digits',
      [tiny_digits, f'{backbone}=null,trainer.train_steps=2']), plain,
      evaluate=False)
  for start, expected in (('random', False), ('mean', True)):
    params = experiments.parse('tokenlearner_digits', [
        tiny_digits, f'task: {{init_checkpoint: {plain}, '
        f'init_token_learner: {start}}}'])
    experiments.resolve(params)
    task = task_factory.get_task(params.task)
    capsys.readouterr()
    task.initialize(task.build_model())
    said = capsys.readouterr().err
    assert '  fresh: encoder/learn_1\n' in said
    assert ('encoder/learn_1 starts as means of 3 parts' in said) == expected


def test_unknown_start(tiny_digits):
  params = experiments.parse(
      'tokenlearner_digits', [tiny_digits, 'task.init_token_learner=median'])
  with pytest.raises(errors.UserError, match="'median'. Known: mean, random"):
    experiments.resolve(params)
