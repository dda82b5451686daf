"""Names of the tensors in timm's and transformers' vision transformers.

One table translates the names of all supported libraries to short ones:
`patch.weight`, `class_token`, `positions`, `block.3.q.weight`, ...
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from tf_tokenlearner import errors

_MODEL_PREFIX = re.compile(
    r'^(?:vit|deit|dinov2|dinov2_with_registers|videomae|vivit'
    r'|vision_model|base_model|backbone)\.')

# Parts of a file that a vision classifier does not need.
_LEFT_OUT = re.compile(
    r'(?:text_model|text_projection|decoder|encoder_to_decoder)\..+'
    r'|logit_scale|logit_bias|text_projection|mask_token'
    r'|embeddings\.mask_token|embeddings\.position_ids')

_END = r'\.(weight|bias)'
_TABLE: Tuple[Tuple[str, str], ...] = (
    (r'(?:embeddings\.)?cls_token|embeddings\.class_embedding', 'class_token'),
    (r'embeddings\.distillation_token|dist_token', 'distillation_token'),
    (r'embeddings\.register_tokens|reg_token', 'registers'),
    (r'embeddings\.position_embeddings|pos_embed'
     r'|embeddings\.position_embedding\.weight', 'positions'),
    (r'(?:embeddings\.patch_embeddings\.projection|patch_embed\.proj'
     r'|embeddings\.patch_embedding)' + _END, r'patch.\1'),
    (r'(?:pre_layrnorm|norm_pre)' + _END, r'pre_norm.\1'),
    (r'(?:layernorm|norm|post_layernorm)' + _END, r'norm.\1'),
    (r'fc_norm' + _END, r'pooled_norm.\1'),
    (r'pooler\.dense' + _END, r'pooler.\1'),
    (r'(?:classifier|cls_classifier|head)' + _END, r'head.\1'),
    (r'(?:distillation_classifier|head_dist)' + _END, r'distillation_head.\1'),
    (r'visual_projection\.weight', 'projection.weight'),
    # SigLIP's attention pooling in transformers, then in timm.
    (r'head\.probe|attn_pool\.latent', 'pooling.query'),
    (r'head\.attention\.in_proj_(weight|bias)', r'pooling.qkv.\1'),
    (r'attn_pool\.q' + _END, r'pooling.q.\1'),
    (r'attn_pool\.kv' + _END, r'pooling.kv.\1'),
    (r'(?:head\.attention\.out_proj|attn_pool\.proj)' + _END,
     r'pooling.out.\1'),
    (r'(?:head\.layernorm|attn_pool\.norm)' + _END, r'pooling.norm.\1'),
    (r'(?:head|attn_pool)\.mlp\.(fc[12])' + _END, r'pooling.\1.\2'),
)
_BLOCK = re.compile(r'(?:encoder\.layers?|blocks)\.(\d+)\.(.+)')
_BLOCK_TABLE: Tuple[Tuple[str, str], ...] = (
    (r'(?:layernorm_before|norm1|layer_norm1)' + _END, r'norm1.\1'),
    (r'(?:layernorm_after|norm2|layer_norm2)' + _END, r'norm2.\1'),
    (r'attention\.attention\.(q|k|v)(?:uery|ey|alue)' + _END, r'\1.\2'),
    (r'attention\.attention\.(q|v)_bias', r'\1.bias'),
    (r'self_attn\.(q|k|v)_proj' + _END, r'\1.\2'),
    (r'attn\.qkv' + _END, r'qkv.\1'),
    (r'(?:attention\.output\.dense|self_attn\.out_proj|attn\.proj)' + _END,
     r'out.\1'),
    (r'(?:intermediate\.dense|mlp\.fc1)' + _END, r'fc1.\1'),
    (r'(?:output\.dense|mlp\.fc2)' + _END, r'fc2.\1'),
    (r'layer_scale([12])\.lambda1|ls([12])\.gamma', r'scale\1\2'),
)


class Names(NamedTuple):
  """Names in a file, by their short names.

  Attributes:
    of: name in the file by short name.
    left_out: names in the file that a classifier does not need.
  """
  of: Dict[str, str]
  left_out: List[str]


def translate(source: str, names: Mapping[str, object]) -> Names:
  """Translates the names of a file.

  Args:
    source: the file or address, for errors.
    names: names in the file.

  Raises:
    UserError: names belong to no supported model, or two are the same tensor;
      the message lists them.
  """
  found, left_out, unknown = {}, [], []
  for name in names:
    short = _short_name(name)
    if _LEFT_OUT.fullmatch(_without_prefix(name)):
      left_out.append(name)
    elif short is None:
      unknown.append(name)
    elif short in found:
      raise errors.UserError(
          f'{source}: {found[short]} and {name} both are {short} (in the names '
          'of this package). Keep one of them in the file.')
    else:
      found[short] = name
  if unknown:
    listed = ', '.join(unknown[:5]) + (', ...' if len(unknown) > 5 else '')
    raise errors.UserError(
        f'{source}: {len(unknown)} tensors belong to no supported model: '
        f'{listed}. Supported: ViT, DeiT, DINOv2, CLIP, SigLIP, VideoMAE and '
        'ViViT of transformers, and the ViTs of timm.')
  return Names(found, left_out)


def _without_prefix(name: str) -> str:
  return _MODEL_PREFIX.sub('', name)


def _short_name(name: str) -> Optional[str]:
  name = _without_prefix(name)
  block = _BLOCK.fullmatch(name)
  if block:
    number, rest = block.groups()
    short = _look_up(_BLOCK_TABLE, rest)
    return short and f'block.{number}.{short}'
  return _look_up(_TABLE, name)


def _look_up(table: Tuple[Tuple[str, str], ...], name: str) -> Optional[str]:
  for pattern, short in table:
    match = re.fullmatch(pattern, name)
    if match:
      return match.expand(short)
  return None
