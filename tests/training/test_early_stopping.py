"""Training ends when its score no longer improves, also after a restart."""

import pytest

from tf_tokenlearner.configs import trainer_config
from tf_tokenlearner.training import early_stopping


def config(patience, metric='', best='accuracy'):
  return trainer_config.TrainerConfig(
      best_checkpoint_eval_metric=best, early_stopping=(
          trainer_config.EarlyStopping(patience=patience, metric=metric)))


def add(stopping, scores, name='accuracy'):
  for step, score in scores.items():
    stopping.add(step, {name: score, 'other': 1.})


def test_stops_after_evaluations_in_vain(tmp_path):
  folder = str(tmp_path)
  stopping = early_stopping.EarlyStopping(config(2), folder)
  add(stopping, {10: .5, 20: .7, 30: .6, 40: .71, 50: .71})
  # A restart from step 45 evaluates step 50 once more.
  stopping = early_stopping.EarlyStopping(config(2), folder)
  add(stopping, {50: .7})
  assert early_stopping.reason_to_stop(config(2), folder) is None
  with pytest.raises(early_stopping.Stopped) as caught:
    add(stopping, {60: .69})
  reason = ('Stopped early at step 60: accuracy has not improved on 0.7100, of '
            'step 40, in 2 evaluations.')
  assert str(caught.value) == reason
  assert early_stopping.reason_to_stop(config(2), folder) == reason
  assert early_stopping.reason_to_stop(config(3), folder) is None
  assert early_stopping.reason_to_stop(
      trainer_config.TrainerConfig(), folder) is None


def test_a_loss_improves_downwards(tmp_path):
  stopping = early_stopping.EarlyStopping(
      config(1, 'validation_loss'), str(tmp_path))
  add(stopping, {10: .5, 20: .4}, 'validation_loss')
  with pytest.raises(early_stopping.Stopped, match='on 0.4000, of step 20'):
    add(stopping, {30: .45}, 'validation_loss')
  # Scores of another metric are no basis.
  assert early_stopping.reason_to_stop(config(1), str(tmp_path)) is None
