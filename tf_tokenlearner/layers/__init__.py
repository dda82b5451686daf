"""Layers for anyone's tf_keras model; they need TensorFlow and tf_keras only.

Shapes: B batch, T frames, N positions per frame, S learned tokens, C channels,
H W map. Every layer takes token lists [B, N, C] and, where a map makes sense,
maps [B, H, W, C]; embeddings take images and clips.
"""

from tf_tokenlearner.layers.attention_pooling import AttentionPooling
from tf_tokenlearner.layers.blocks import LayerNorm
from tf_tokenlearner.layers.blocks import MatmulDense
from tf_tokenlearner.layers.blocks import MlpBlock
from tf_tokenlearner.layers.blocks import SelfAttention
from tf_tokenlearner.layers.blocks import TransformerEncoderBlock
from tf_tokenlearner.layers.embeddings import ClassToken
from tf_tokenlearner.layers.embeddings import PatchEmbedding
from tf_tokenlearner.layers.embeddings import PositionEmbedding
from tf_tokenlearner.layers.embeddings import TubeletEmbedding
from tf_tokenlearner.layers.grid_pooling import GridPooling
from tf_tokenlearner.layers.token_fuser import SpaceTimeTokenFuser
from tf_tokenlearner.layers.token_fuser import TokenFuser
from tf_tokenlearner.layers.token_fuser import TokenReprojection
from tf_tokenlearner.layers.token_fuser import TokenUnpooling
from tf_tokenlearner.layers.token_learner import TokenLearner
from tf_tokenlearner.layers.token_learner import TokenLearnerV11
from tf_tokenlearner.layers.vector_transformer import VectorTransformer

__all__ = [
    'AttentionPooling', 'ClassToken', 'GridPooling', 'LayerNorm',
    'MatmulDense', 'MlpBlock', 'PatchEmbedding', 'PositionEmbedding',
    'SelfAttention', 'SpaceTimeTokenFuser', 'TokenFuser', 'TokenLearner',
    'TokenLearnerV11', 'TokenReprojection', 'TokenUnpooling',
    'TransformerEncoderBlock', 'TubeletEmbedding', 'VectorTransformer',
]
