"""Weights in: of our own runs, public ViTs, Scenic and the Model Garden."""

from tf_tokenlearner.checkpoints.flax_names import load_scenic
from tf_tokenlearner.checkpoints.initialization import initialize
from tf_tokenlearner.checkpoints.scenic import read_scenic_checkpoint
from tf_tokenlearner.checkpoints.token_learner_init import insert_token_learner
from tf_tokenlearner.checkpoints.vit_npz import load_vision_transformer_npz
