"""Settings that runs keep which were trained before a config key existed."""

from typing import Any, Dict, Mapping


def kept_dropout(params: Mapping[str, Any]) -> Dict[str, Any]:
  """Returns overrides that keep a run's dropout of token scores.

  Runs of version 0.1.0 have no token_learner.dropout_rate: the dropout_rate of
  the blocks also dropped scores of TokenLearner v1.1 and TokenFuser. They keep
  it unless the key is set.

  Args:
    params: config of the run, as plain data.

  Returns:
    Overrides with task.model.backbone.TYPE.token_learner.dropout_rate; {} if
    the run has no such dropout.
  """
  backbone = params['task']['model']['backbone']
  options = backbone[backbone['type']]
  learner = options.get('token_learner', {})
  has_scores = (
      options.get('tokenizer', 'token_learner') == 'token_learner'
      and learner.get('version') == 'v1.1') or (
          options.get('use_token_fuser')
          and options.get('fuser', 'token_fuser') == 'token_fuser')
  rate = learner.get(
      'dropout_rate', options.get('dropout_rate', 0.) if has_scores else 0.)
  if not rate:
    return {}
  return {'task': {'model': {'backbone': {backbone['type']: {
      'token_learner': {'dropout_rate': rate}}}}}}
