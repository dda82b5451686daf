"""Small versions of full-size configs with the same structure.

The blocks between two TokenLearners are equal, so one represents all of them:
TransformerEncoderBlocks from 12 to 18 become one.
"""

import copy

from official.core import config_definitions as cfg

from tf_tokenlearner.backbones import bottleneck_spec

WIDTH = 8
NUM_CLASSES = 6


def shallow(params: cfg.ExperimentConfig) -> cfg.ExperimentConfig:
  """Returns a copy with one block per run of equal blocks."""
  params = copy.deepcopy(params)
  model = params.task.model
  model.num_classes = model.num_classes or NUM_CLASSES
  spec = model.backbone.get()
  if isinstance(spec, bottleneck_spec.BottleneckSpec):
    spec.num_blocks = [1, 1, 1, 2]  # The very last holds the module.
    spec.num_module_blocks = 1
    return params
  resolved = spec.completed(tuple(model.input_size))
  places = [place for place, _ in resolved.token_learners()]
  edges = [0, *places, resolved.num_layers]
  blocks = [min(1, end - start) for start, end in zip(edges, edges[1:])]
  spec.num_layers = sum(blocks)
  if places:
    located = [sum(blocks[:i + 1]) for i in range(len(places))]
    spec.num_tokens = [tokens for _, tokens in resolved.token_learners()]
    spec.token_learner_location = located
  return params


def tiny(params: cfg.ExperimentConfig) -> cfg.ExperimentConfig:
  """Returns a shallow copy with few channels and pixels and no warm-up."""
  params = shallow(params)
  params.trainer.optimizer_config.warmup.type = None
  model = params.task.model
  model.num_classes = NUM_CLASSES
  spec = model.backbone.get()
  if isinstance(spec, bottleneck_spec.BottleneckSpec):
    spec.override(dict(
        stage_widths=[2, 2, 4, WIDTH], attention_dim=4, num_heads=2,
        representation_size=spec.representation_size and 4))
    model.input_size = [2, 64, 128, 3]  # 2 x 4 positions in the last stage.
    return params
  sizes = dict(hidden_size=WIDTH, mlp_dim=12, num_heads=2,
               representation_size=spec.representation_size and 4)
  if hasattr(spec, 'temporal_num_layers'):
    sizes['temporal_num_layers'] = 1
  spec.override(sizes)
  side = 16  # Pixels; 8 x 8 positions.
  places = len(spec.token_learner_location or ())
  spec.num_tokens = [4**(places - i) for i in range(places)] or 4
  if hasattr(spec, 'tubelet_size'):
    resolved = spec.completed(tuple(model.input_size))
    frames = resolved.tubelet_size[0]
    spec.variant, spec.tubelet_size = f'Ti/2x{frames}', None
    model.input_size = [2 * frames, side, side, 3]
  else:
    spec.variant, spec.patch_size = 'Ti/2', None
    model.input_size = [side, side, 3]
  return params
