"""Arms that benchmarks/pretrained.py compares, their recipe, and claims."""

import dataclasses
from typing import NamedTuple, Tuple


class Arm(NamedTuple):
  """A way to fine-tune or to read the pretrained model.

  Attributes:
    name: name in results and report.
    kind: 'plain', 'learned', 'pooled', 'top' (patches by the attention of the
      class token), 'merged' (tokens in every block) or 'ridge' (regression on
      frozen features).
    location: first trained block; it is the first that sees fewer tokens.
    num_tokens: S, without the class token.
    start: start of a TokenLearner, as task.init_token_learner.
    num_seeds: splits on which it is trained; fewer for the expensive ones.
    is_timed: whether --time measures its exports.
  """
  name: str
  kind: str
  location: int = 6
  num_tokens: int = 0
  start: str = 'random'
  num_seeds: int = 5
  is_timed: bool = False


# In the order in which they are trained.
ARMS: Tuple[Arm, ...] = (
    Arm('ridge', 'ridge', 12),
    Arm('8 at 6', 'learned', 6, 8, is_timed=True),
    Arm('pooling 8 at 6', 'pooled', 6, 8, is_timed=True),
    Arm('mean at 6', 'pooled', 6, 1),
    Arm('plain', 'plain', 6, is_timed=True),
    Arm('16 at 6', 'learned', 6, 16, is_timed=True),
    Arm('pooling 16 at 6', 'pooled', 6, 16),
    Arm('4 at 6', 'learned', 6, 4),
    Arm('pooling 4 at 6', 'pooled', 6, 4),
    Arm('top 8 at 6', 'top', 6, 8),
    Arm('merging', 'merged', 6),
    Arm('8 at 6 from means', 'learned', 6, 8, 'mean'),
    Arm('8 at 9', 'learned', 9, 8, num_seeds=3, is_timed=True),
    Arm('pooling 8 at 9', 'pooled', 9, 8, num_seeds=3),
    Arm('8 at 3', 'learned', 3, 8, num_seeds=3, is_timed=True),
    Arm('pooling 8 at 3', 'pooled', 3, 8, num_seeds=3),
    Arm('mean at 9', 'pooled', 9, 1, num_seeds=3),
    Arm('mean at 3', 'pooled', 3, 1, num_seeds=3),
    Arm('16 at 9', 'learned', 9, 16, num_seeds=3),
    Arm('16 at 3', 'learned', 3, 16, num_seeds=3),
    Arm('4 at 9', 'learned', 9, 4, num_seeds=3),
    Arm('4 at 3', 'learned', 3, 4, num_seeds=3),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
  """Hyperparameters of a fine-tuning.

  Attributes:
    epochs: passes over the training pictures.
    batch_size: pictures per step.
    learning_rate: peak of the cosine schedule.
    new_learning_rate: the same for TokenLearner and head, which start fresh.
    warmup: share of the steps in which the learning rate grows linearly.
    weight_decay: decoupled weight decay of kernels.
    pooler: the spec's option: what the head sees.
  """
  epochs: int = 6
  batch_size: int = 32
  learning_rate: float = 3e-5
  new_learning_rate: float = 1e-3
  warmup: float = .1
  weight_decay: float = .05
  pooler: str = 'token_and_mean'


class Claim(NamedTuple):
  """A claim that an arm is better than another one, or hardly worse.

  Attributes:
    text: the claim in words.
    arm: name of the arm that the claim is about.
    other: name of the arm that it is compared with.
    least: difference of the AUC, in percentage points, above which the claim
      holds: 0 for "better", negative for "at most this much worse".
  """
  text: str
  arm: str
  other: str
  least: float = 0.


CLAIMS: Tuple[Claim, ...] = (
    Claim('8 learned tokens at 6 lose at most one point against the plain '
          'network', '8 at 6', 'plain', -1.),
    Claim('8 learned tokens at 6 are better than 8 pooled ones', '8 at 6',
          'pooling 8 at 6'),
    Claim('16 learned tokens at 6 are better than 16 pooled ones', '16 at 6',
          'pooling 16 at 6'),
    Claim('4 learned tokens at 6 are better than 4 pooled ones', '4 at 6',
          'pooling 4 at 6'),
    Claim('8 learned tokens at 6 are better than the mean', '8 at 6',
          'mean at 6'),
    Claim('8 learned tokens at 6 are better than the 8 patches with most '
          'attention', '8 at 6', 'top 8 at 6'),
    Claim('8 learned tokens at 6 are better than merging at equal cost',
          '8 at 6', 'merging'),
    Claim('fine-tuning with 8 learned tokens at 6 is better than ridge '
          'regression on frozen features', '8 at 6', 'ridge'),
    Claim('8 tokens at 6 are better than 4', '8 at 6', '4 at 6'),
    Claim('16 tokens at 6 are better than 8', '16 at 6', '8 at 6'),
    Claim('8 learned tokens at 9 are better than 8 pooled ones', '8 at 9',
          'pooling 8 at 9'),
    Claim('8 learned tokens at 3 are better than 8 pooled ones', '8 at 3',
          'pooling 8 at 3'),
    Claim('8 tokens at 9 are better than at 6', '8 at 9', '8 at 6'),
    Claim('8 tokens at 6 are better than at 3', '8 at 6', '8 at 3'),
    Claim('a TokenLearner that starts as means is better than one that starts '
          'at random', '8 at 6 from means', '8 at 6'),
)
