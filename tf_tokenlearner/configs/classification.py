"""Config classes and recipes shared by image and video classification."""

import dataclasses
from typing import Any, ClassVar, List, Optional, Tuple, Union

from official.core import config_definitions as cfg
from official.modeling import hyperparams
from official.vision.modeling.backbones import factory
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.configs import trainer_config
from tf_tokenlearner import errors


@dataclasses.dataclass
class TokenLearner(hyperparams.Config, specs.TokenLearnerSpec):
  """specs.TokenLearnerSpec as a Garden config."""


@dataclasses.dataclass
class TokenLearnerViT(hyperparams.Config, specs.ViTSpec):
  """specs.ViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerViViT(hyperparams.Config, specs.ViViTSpec):
  """specs.ViViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerFactorizedViViT(
    hyperparams.Config, specs.FactorizedViViTSpec):
  """specs.FactorizedViViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerBottleneck(
    hyperparams.Config, bottleneck_spec.BottleneckSpec):
  """bottleneck_spec.BottleneckSpec as a Garden config."""


# Names of variables that weight decay would only disturb: biases, LayerNorms,
# positions and tokens.
NO_DECAY = ['bias:', 'gamma:', 'beta:', '/embedding:', '/query:']


@dataclasses.dataclass
class Backbone(hyperparams.OneOfConfig):
  """The image backbone: its type and the options of each type.

  Attributes:
    type: name of one of the fields below.
    from_pretrained: weights that give the architecture and its start; short for
      task.init_checkpoint and variant=auto.
    token_learner_vit: vision transformer with TokenLearner.
  """
  type: Optional[str] = 'token_learner_vit'
  from_pretrained: str = ''
  token_learner_vit: TokenLearnerViT = dataclasses.field(
      default_factory=TokenLearnerViT)


@dataclasses.dataclass
class VideoBackbone(hyperparams.OneOfConfig):
  """The video backbone: its type and the options of each type.

  Attributes:
    type: name of one of the fields below.
    from_pretrained: weights that give the architecture and its start; short for
      task.init_checkpoint and variant=auto.
    token_learner_vivit: one transformer over all positions of a clip.
    token_learner_vivit_factorized: a spatial transformer, then a temporal one.
    token_learner_bottleneck: convolutions, with tokens in the last stage.
  """
  type: Optional[str] = 'token_learner_vivit'
  from_pretrained: str = ''
  token_learner_vivit: TokenLearnerViViT = dataclasses.field(
      default_factory=TokenLearnerViViT)
  token_learner_vivit_factorized: TokenLearnerFactorizedViViT = (
      dataclasses.field(default_factory=TokenLearnerFactorizedViViT))
  token_learner_bottleneck: TokenLearnerBottleneck = dataclasses.field(
      default_factory=TokenLearnerBottleneck)


def _register(name: str, model_class: type) -> None:
  """Registers model_class(spec, input_size) with the Garden's factory."""

  @factory.register_backbone_builder(name)
  def build(
      input_specs: tf_keras.layers.InputSpec,
      backbone_config: hyperparams.OneOfConfig,
      norm_activation_config: Optional[hyperparams.Config] = None,
      l2_regularizer: Optional[tf_keras.regularizers.Regularizer] = None,
  ) -> tf_keras.Model:
    """Builds a backbone for the Garden's factory.

    Args:
      input_specs: shape [None, H, W, C] of images, [None, T, H, W, C] of
        clips.
      backbone_config: OneOfConfig whose type is this backbone.
      norm_activation_config: ignored, as the options of the backbone determine
        its normalization; the factory always passes it.
      l2_regularizer: must be None; weight decay belongs to the optimizer.

    Raises:
      UserError: l2_regularizer is given, or the spec is invalid.
    """
    del norm_activation_config
    if l2_regularizer is not None:
      raise errors.UserError(
          f'{name} takes no l2_weight_decay: use an optimizer with weight '
          'decay, such as adamw.')
    return model_class(backbone_config.get(), input_specs.shape[1:])


for _name, _model_class in backbones.BY_NAME.items():
  _register(_name, _model_class)


@dataclasses.dataclass
class Classifier(hyperparams.Config):
  """Options of a classifier other than backbone and input size.

  Attributes:
    num_classes: number of classes; 0 takes that of the data set.
    dropout_rate: dropout rate before the head.
    head_bias: initial bias of the head.
  """
  num_classes: int = 0
  dropout_rate: float = 0.
  head_bias: float = 0.


@dataclasses.dataclass
class Losses(hyperparams.Config):
  """The loss.

  Attributes:
    loss: 'softmax' for one label per example; 'sigmoid' for any number of
      labels, with an independent decision per class.
    label_smoothing: label smoothing, in [0, 1).
  """
  loss: str = 'softmax'
  label_smoothing: float = 0.


@dataclasses.dataclass
class Distillation(hyperparams.Config):
  """Learning from the logits of a trained classifier (arXiv 1503.02531).

  The loss is (1 - weight) * loss on labels + weight * temperature^2 *
  divergence from the teacher.

  Attributes:
    teacher: run or weights of a classifier of the same classes and input size,
      as of init_checkpoint; '' for none.
    weight: share of the teacher, in (0, 1].
    temperature: divides the logits of both.
  """
  teacher: str = ''
  weight: float = 0.5
  temperature: float = 2.


@dataclasses.dataclass
class ClassificationTask(cfg.TaskConfig):
  """Options of a task other than model and data.

  Attributes:
    init_checkpoint: checkpoint or folder to start from, '' for none: a run of
      this project, pretrained weights (hf://OWNER/NAME[@REVISION], or a folder
      or file of safetensors), public ViT weights (.npz), a checkpoint of Scenic
      (msgpack or Orbax) or of the Model Garden's ViT.
    init_checkpoint_modules: 'all', or 'backbone' to initialize the head anew.
    init_token_learner: initialization of a TokenLearner that the checkpoint
      lacks: 'random'; or 'mean', each token as the mean of one part of the map,
      fitted on a few training examples, so that short fine-tuning suffices.
    freeze_backbone: trains only the head.
    freeze_below: number of the first block that is trained; the embedding and
      the blocks before it keep their weights, without dropout. 0 trains all;
      'auto' is the first TokenLearner's location, or half of the blocks.
    cache_features: computes the output of the blocks below freeze_below once
      per picture, keeps it on disk, and trains the other blocks on it. None
      does so where freeze_below is set and each epoch sees the same pictures:
      without random augmentation, or with several num_augmented_copies.
    num_augmented_copies: with cached features, copies of each training picture,
      each with another draw of the augmentation, which epochs take in turn.
    cache_dtype: type of cached features: float16, bfloat16 or float32.
    cache_dir: folder of cached features, which several runs may share; '' takes
      the folder of the run.
    cache_limit_gb: largest size of cached features, in GB. If more are needed,
      cache_features=None trains without them, and true is refused.
    class_weights: weights of the classes in the training loss: 'none';
      'balanced', inversely to their numbers in the training data; or {class
      name: weight}, 1 for the others; kept as JSON. They are scaled to a mean
      of 1 over the training data. Evaluation is not weighted.
    distillation: a teacher and its share of the loss.
    resize: how pictures and frames get the network's input size, in training,
      evaluation, exports and predict: 'crop' cuts out a box of its aspect
      ratio, 'letterbox' keeps the whole picture and adds grey bars, 'stretch'
      scales each side of the whole picture.
    interpolation: 'bilinear', 'bicubic', 'lanczos3' or 'nearest'.
    antialias: whether resizing averages over all pixels that become one, as
      Pillow does.
    label_names: classes of the model, in the order of its outputs; [] takes
      those of the training data.
    SOURCE_KEYS: keys of validation_data that are taken from train_data if
      validation_data names no source.
  """
  SOURCE_KEYS: ClassVar[Tuple[str, ...]] = (
      'tfds_name', 'input_path', 'tfds_data_dir', 'label_field_key',
      'files_dir', 'validation_fraction', 'max_unreadable_fraction')
  losses: Losses = dataclasses.field(default_factory=Losses)
  init_checkpoint: str = ''
  init_checkpoint_modules: str = 'all'
  init_token_learner: str = 'random'
  freeze_backbone: bool = False
  freeze_below: Union[int, str] = 0
  cache_features: Optional[bool] = None
  num_augmented_copies: int = 1
  cache_dtype: str = 'float16'
  cache_dir: str = ''
  cache_limit_gb: float = 20.
  class_weights: str = 'none'
  distillation: Distillation = dataclasses.field(default_factory=Distillation)
  resize: str = 'crop'
  interpolation: str = 'bilinear'
  antialias: bool = False
  label_names: List[str] = dataclasses.field(default_factory=list)


def experiment(
    task: ClassificationTask, *, optimizer: dict, learning_rate: dict,
    train_steps: Optional[int] = None,
    validation_interval: Optional[int] = None,
    warmup_steps: Optional[int] = None, averaging: Optional[dict] = None,
    layer_decay: float = 1., best_metric: str = 'accuracy',
    **trainer: Any) -> cfg.ExperimentConfig:
  """Returns an experiment.

  Args:
    task: model, data and loss.
    optimizer: {type: options that differ from the defaults}.
    learning_rate: {type of the schedule: options}.
    train_steps: number of training steps; None with trainer's `epochs`.
    validation_interval: steps between two evaluations, and between two
      checkpoints; None for one epoch.
    warmup_steps: steps of linear warm-up; None takes trainer's `warmup_epochs`.
    averaging: options of the moving average of weights; None for no average.
    layer_decay: factor of the learning rate from one block to the one before.
    best_metric: metric that selects the best checkpoint.
    **trainer: further options of the trainer.
  """
  (optimizer_type, optimizer_options), = optimizer.items()
  (schedule_type, schedule_options), = learning_rate.items()
  interval = validation_interval and min(validation_interval, train_steps)
  loop = interval and min(interval, 100)
  optimizer_config = {
      'optimizer': {'type': optimizer_type, optimizer_type: optimizer_options},
      'learning_rate': {'type': schedule_type, schedule_type: schedule_options},
      'layer_decay': layer_decay,
      'ema': averaging,
  }
  if warmup_steps or trainer.get('warmup_epochs'):
    optimizer_config['warmup'] = {
        'type': 'linear', 'linear': {'warmup_steps': warmup_steps}}
  return cfg.ExperimentConfig(
      runtime=cfg.RuntimeConfig(num_gpus=-1),  # All GPUs.
      task=task,
      trainer=trainer_config.TrainerConfig(
          train_steps=train_steps,
          steps_per_loop=loop,
          summary_interval=loop,
          checkpoint_interval=interval,
          validation_interval=interval,
          best_checkpoint_export_subdir='best_ckpt',
          best_checkpoint_eval_metric=best_metric,
          optimizer_config=optimization.OptimizationConfig(optimizer_config),
          **trainer),
      restrictions=[
          'task.train_data.is_training != None',
          'task.validation_data.is_training != None',
      ])


def own_data_recipe() -> dict:
  """Returns arguments of `experiment` that suit data sets of unknown size."""
  return dict(
      optimizer={'adamw': {'weight_decay_rate': 0.05}},
      learning_rate={'cosine': {'initial_learning_rate': 5e-4}},
      loss=dict(label_smoothing=0.1),
      train_steps=10000,
      validation_interval=500,
      warmup_steps=500)


def fine_tuning_recipe() -> dict:
  """Returns arguments of `experiment` for training from public weights.

  It follows BEiT (Bao et al. 2021, arXiv 2106.08254, appendix):
  AdamW, cosine, layer-wise decay of the learning rate. Values by trial on about
  2,000 photographs.
  """
  return dict(
      optimizer={'adamw': {
          'weight_decay_rate': 0.05, 'exclude_from_weight_decay': NO_DECAY}},
      learning_rate={'cosine': {'initial_learning_rate': 1e-3}},
      layer_decay=0.5,
      averaging={'average_decay': 0.99},
      batch_size=None,
      epochs=10.,
      warmup_epochs=1.,
      learning_rate_scaling='sqrt',
      learning_rate_batch_size=64,
      early_stopping=trainer_config.EarlyStopping(patience=4))
