"""Weights from our own runs, public ViTs, Scenic and the Model Garden."""

from tf_tokenlearner import lazy

__getattr__, __dir__ = lazy.attach(__name__, {
    'pretrained': ('from_pretrained',),
    'initialization': ('initialize',),
    'scenic': ('load_scenic', 'read_scenic_checkpoint'),
    'token_learner_init': ('insert_token_learner',),
    'vit_npz': ('load_vision_transformer_npz',),
})
