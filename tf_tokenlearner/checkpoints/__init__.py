"""Weights in: of our own runs, public ViTs, Scenic and the Model Garden."""

from tf_tokenlearner.checkpoints.flax_arrays import load_scenic
from tf_tokenlearner.checkpoints.initialization import initialize
from tf_tokenlearner.checkpoints.insertion import insert_token_learner
from tf_tokenlearner.checkpoints.scenic import read_scenic_checkpoint
from tf_tokenlearner.checkpoints.vision_transformer import (
    load_vision_transformer_npz)
