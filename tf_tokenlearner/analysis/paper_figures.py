"""Figures of the papers' tables, one for each file of official_configs.

The paper is TokenLearner's, arXiv 2106.11297v2, unless another one is named.
"""

from typing import NamedTuple, Optional, Tuple


class Figure(NamedTuple):
  """The paper's cost of a model.

  Attributes:
    config: file of official_configs, without its extension.
    giga: GFLOPS, which are multiply-accumulates except in MODULES; None if the
      paper gives none.
    mega: millions of parameters, or None.
    mark: a key of MARKS, or None.
  """
  config: str
  giga: Optional[float]
  mega: Optional[float] = None
  mark: Optional[str] = None


class Table(NamedTuple):
  """A table of a paper: title, experiment of its configs, figures."""
  title: str
  experiment: str
  figures: Tuple[Figure, ...]


def _read_off(config: str, giga: float) -> Figure:
  return Figure(config, giga, mark='read off')


MARKS = {
    'in error': ('*', 'The paper is in error; see the Limit of the file.'),
    'counted otherwise': (
        '~', 'The paper counts more, such as softmax or the head of '
        'pre-training; see\n  analysis/paper_table.py and the Limit of the '
        'file.'),
    'read off': ('^', 'Read off a plot.'),
    'unconfirmed': ('?', 'The paper\'s figures could not be confirmed.'),
}

# This table gives the cost of the module alone, with two per MAC.
MODULES = 'tables 11 and 12'

TABLES = {
    'table 1': Table(
        'Table 1: ImageNet, S and B',
        'tokenlearner_imagenet_finetune', (
            Figure('image/tokenlearner_b16_21layers', 47.1),
            Figure('image/tokenlearner_b16_21layers_16tokens', 47.7),
            Figure('image/tokenlearner_b16_8at6_fuser', 28.7),
            Figure('image/tokenlearner_b32_20layers', 11.5),
            Figure('image/tokenlearner_s32', 1.9),
            Figure('image/tokenlearner_s32_22layers', 3.3),
            Figure('image/vit_b16', 55.6),
            Figure('image/vit_b32', 19.8, None, 'in error'),
            Figure('image/vit_s32', 3.4),
        )),
    'table 2': Table(
        'Table 2: ImageNet, L',
        'tokenlearner_imagenet_finetune', (
            Figure('image/tokenlearner_l14_35layers_16at18', 361.6),
            Figure('image/tokenlearner_l16_16at12', 178.1, None, 'in error'),
            Figure('image/tokenlearner_l16_30layers_8at18', 274.2),
            Figure('image/tokenlearner_l16_35layers_16at12', 186.8),
            Figure('image/vit_l16', 363.1),
        )),
    'table 3': Table(
        'Table 3: ImageNet, beside larger models',
        'tokenlearner_imagenet_finetune', (
            Figure('image/tokenlearner_l10_35layers_16at18',
                   None, 460.0, 'counted otherwise'),
            Figure('image/tokenlearner_l8_35layers_16at18',
                   None, 460.0, 'counted otherwise'),
            Figure('image/vit_h14', None, 654.0, 'counted otherwise'),
        )),
    'table 4': Table(
        'Table 4: with and without TokenFuser',
        'tokenlearner_imagenet_finetune', (
            Figure('image/tokenlearner_b16', 28.3),
            Figure('image/tokenlearner_b16_16at6', 28.7),
            Figure('image/tokenlearner_b16_16at6_fuser', 29.1),
            Figure('image/tokenlearner_b16_8at6_fuser', 28.5),
            Figure('image/tokenlearner_l10_35layers_16at18', 849.0),
            Figure('image/tokenlearner_l10_35layers_16at18_fuser', 856.9),
            Figure('image/tokenlearner_l16_16at12', 184.6),
            Figure('image/tokenlearner_l16_16at12_fuser', 187.1),
            Figure('image/tokenlearner_l16_8at18', 273.2),
            Figure('image/tokenlearner_l16_8at18_fuser', 273.8),
        )),
    'table 5': Table(
        'Table 5: pooling in place of TokenLearner',
        'tokenlearner_imagenet_finetune', (
            Figure('image/pooling_l16_16at12', 184.4),
            Figure('image/pooling_l16_64at12_4at18', 187.2),
            Figure('image/pooling_l16_64at9_4at18', 144.3),
            Figure('image/tokenlearner_l16_16at12', 184.6),
            Figure('image/vit_l16', 363.1),
        )),
    'tables 6 and 7': Table(
        'Tables 6 and 7: Kinetics-400, a view',
        'tokenlearner_kinetics400', (
            Figure('video/tokenlearner_l10x2_35layers_16at18_kinetics400',
                   4076.0),
            Figure('video/tokenlearner_l14x2_35layers_16at18_kinetics400',
                   1621.0),
            Figure('video/tokenlearner_l16x2_16at12_kinetics400', 766.0),
            Figure('video/tokenlearner_l16x2_30layers_8at18_kinetics400',
                   1105.0),
            Figure('video/vivit_h16x2_kinetics400', 8316.0, None, 'in error'),
            Figure('video/vivit_l16x2_320px_kinetics400', 3992.0),
            Figure('video/vivit_l16x2_kinetics400', 1446.0),
        )),
    'table 8': Table(
        'Table 8: Kinetics-600, a view',
        'tokenlearner_kinetics600', (
            Figure('video/tokenlearner_l10x2_35layers_16at18_fuser_kinetics600',
                   4100.0),
            Figure('video/tokenlearner_l10x2_35layers_16at18_kinetics600',
                   4076.0),
            Figure('video/tokenlearner_l16x2_16at12_kinetics600', 766.0),
            Figure('video/tokenlearner_l16x2_30layers_8at18_kinetics600',
                   1105.0),
            Figure('video/vivit_l16x2_kinetics600', 1446.0),
        )),
    MODULES: Table(
        'Tables 11 and 12: a module on 64 x 8 x 8 x 432, 2 for a '
        'multiply-accumulate',
        'tokenlearner_charades', (
            Figure('video/bottleneck_conv2d_conv1d_charades_6fps', 18.3, 2.24),
            Figure('video/bottleneck_conv2d_joint_mhsa_charades_6fps',
                   35.8, 1.98, 'counted otherwise'),
            Figure('video/bottleneck_conv2d_mlp_mixer_charades_6fps',
                   13.8, 2.06),
            Figure('video/bottleneck_conv2d_spatial_temporal_transformer_'
                   'charades_6fps',
                   19.2, 2.27),
            Figure('video/bottleneck_conv2d_temporal_transformer_charades_6fps',
                   16.5, 1.98),
            Figure('video/bottleneck_conv2d_token_learner_charades_6fps',
                   17.2, 2.49, 'counted otherwise'),
            Figure('video/bottleneck_joint_mhsa_charades_6fps',
                   22.0, 0.3, 'counted otherwise'),
            Figure('video/bottleneck_spatial_temporal_transformer_'
                   'charades_6fps',
                   5.5, 0.59),
            Figure('video/bottleneck_spatial_token_learner_charades_6fps',
                   6.2, 1.11, 'counted otherwise'),
            Figure('video/bottleneck_token_learner_charades_6fps',
                   3.4, 0.81, 'counted otherwise'),
        )),
    'fuser figure': Table(
        'Figure: unpooling and reprojection in place of TokenFuser',
        'tokenlearner_imagenet_finetune', (
            _read_off('image/reprojection_b16_16at6', 33.4),
            _read_off('image/reprojection_b16_8at6', 32.7),
            _read_off('image/unpooling_b16_16at6', 29.2),
            _read_off('image/unpooling_b16_8at6', 28.6),
        )),
    'few-shot figure': Table(
        'Figure: few-shot, at 224 px',
        'tokenlearner_imagenet_pretrain', (
            _read_off('image/tokenlearner_b16_21layers_224px', 15.3),
            _read_off('image/tokenlearner_b16_224px', 9.54),
            _read_off('image/tokenlearner_b32_20layers_224px', 4.2),
            _read_off('image/tokenlearner_s32_224px', 0.7),
            _read_off('image/tokenlearner_s32_22layers_224px', 1.15),
            _read_off('image/vit_b16_224px', 17.6),
            _read_off('image/vit_b32_224px', 4.35),
            _read_off('image/vit_s32_224px', 1.1),
        )),
    'version 4': Table(
        'Version 4: TokenLearner in early layers',
        'tokenlearner_imagenet_finetune', (
            Figure('image/tokenlearner_l16_16at2_384px',
                   None, None, 'unconfirmed'),
            Figure('image/tokenlearner_l16_16at3_384px',
                   None, None, 'unconfirmed'),
            Figure('image/tokenlearner_l16_16at6_384px',
                   None, None, 'unconfirmed'),
        )),
    'arXiv 2103.15691': Table(
        'ViViT (arXiv 2103.15691), a view',
        'tokenlearner_kinetics400', (
            Figure('video/vivit_b16x2_factorized_kinetics400', 284.4),
            Figure('video/vivit_b16x2_kinetics400', 455.2),
        )),
}
