"""Models that benchmarks/study.py trains, and claims that it tests on them."""

import itertools
from typing import Any, Callable, Dict, NamedTuple, Tuple

PLAIN = 'plain'
SHALLOWER = 'plain shallower'
DEEPER = 'deeper 8 at 1/2'

_Options = Dict[str, Any]


def options(network: _Options,
            macs: Callable[[_Options], int]) -> Dict[str, _Options]:
  """Returns the options of token_learner_vit of every model, by name.

  'S at p' is S tokens after the fraction p of the blocks.

  Args:
    network: options of the plain network; num_layers is a multiple of 4.
    macs: returns the multiply-accumulates of a network with given options.
  """
  num_layers = network['num_layers']

  def learn(num_tokens, quarters, **others):
    return {**network, 'token_learner_location': num_layers * quarters // 4,
            'num_tokens': num_tokens, **others}

  def plain(num_layers):
    return {**network, 'num_layers': num_layers,
            'token_learner_location': None}

  def deep(num_layers):
    return {**network, 'num_layers': num_layers, 'num_tokens': 8,
            'token_learner_location': (num_layers + 1) // 2}

  limit = macs(plain(num_layers))
  deeper = list(itertools.takewhile(
      lambda candidate: macs(candidate) <= limit,
      map(deep, itertools.count(2))))[-1]
  halved = macs(learn(8, 2))
  shallower = next(candidate for candidate in map(plain, itertools.count(1))
                   if macs(candidate) >= halved)
  return {
      PLAIN: plain(num_layers),
      '8 at 1/2': learn(8, 2),
      '8 at 3/4': learn(8, 3),
      'pooling 8 at 1/2': learn(8, 2, tokenizer='grid_pooling'),
      'Fuser 8 at 1/2': learn(8, 2, use_token_fuser=True),
      DEEPER: deeper,
      '8 at 1/4': learn(8, 1),
      'v1.0 8 at 1/2': learn(8, 2, token_learner={'version': 'v1.0'}),
      '4 at 1/2': learn(4, 2),
      '16 at 1/2': learn(16, 2),
      'pooling 8 at 3/4': learn(8, 3, tokenizer='grid_pooling'),
      SHALLOWER: shallower,
  }


class Claim(NamedTuple):
  """A claim that a model is better than another one, or hardly worse.

  Attributes:
    text: the claim in words.
    source: source of the claim, with figures.
    model: name of the model that the claim is about.
    other: name of the model that it is compared with.
    least: difference in accuracy, in percentage points, above which the claim
      holds: 0 for "better", negative for "at most this much worse".
  """
  text: str
  source: str
  model: str
  other: str
  least: float


CLAIMS: Tuple[Claim, ...] = (
    Claim('8 tokens at 1/2 lose at most 1.5 points',
          'Table 4, B/16 on ImageNet: 83.2 against 84.73',
          '8 at 1/2', PLAIN, -1.5),
    Claim('8 tokens at 3/4 lose at most 0.5 points',
          'Figure 4, B/16, ImageNet 5-shot: 67.9 against 62.9',
          '8 at 3/4', PLAIN, -.5),
    Claim('8 tokens at 1/2 are better than at 1/4',
          'Figure 4: 63.7 against 58.8', '8 at 1/2', '8 at 1/4', 0.),
    Claim('8 tokens at 3/4 are better than at 1/2',
          'Figure 4: 67.9 against 63.7', '8 at 3/4', '8 at 1/2', 0.),
    Claim('learned tokens are better than pooled tokens at 1/2',
          'Table 5, L/16, 16 tokens at 12: 87.68 against 83.93',
          '8 at 1/2', 'pooling 8 at 1/2', 0.),
    Claim('learned tokens are better than pooled tokens at 3/4',
          'not in the paper', '8 at 3/4', 'pooling 8 at 3/4', 0.),
    Claim('8 tokens lose at most 0.5 points against 16',
          'Table 4, B/16 without Fuser: 83.2 and 83.2',
          '8 at 1/2', '16 at 1/2', -.5),
    Claim('8 tokens are better than 4', 'not in the paper',
          '8 at 1/2', '4 at 1/2', 0.),
    Claim('a TokenFuser adds accuracy',
          'Table 4, B/16, 8 tokens: 83.7 against 83.2',
          'Fuser 8 at 1/2', '8 at 1/2', 0.),
    Claim('version 1.1 is better than 1.0',
          'official code, for early locations; no figures',
          '8 at 1/2', 'v1.0 8 at 1/2', 0.),
    Claim('a deeper network with TokenLearner is better at equal cost',
          'Table 1, S/32 with 22 layers: 79.42 against 77.87',
          DEEPER, PLAIN, 0.),
    Claim('TokenLearner is better than fewer blocks at equal cost',
          'not in the paper', '8 at 1/2', SHALLOWER, 0.),
)
