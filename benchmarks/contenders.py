"""Models that are timed against each other: same sizes, same task."""

from typing import List, NamedTuple

import tf_keras
from official.vision.modeling import classification_model
from official.vision.modeling.backbones import vit

from tf_tokenlearner import backbones
from tf_tokenlearner.analysis import cost

NUM_CLASSES = 1000


class Contender(NamedTuple):
  """A classifier of images [B, H, W, 3] and its MACs per image."""
  name: str
  model: tf_keras.Model
  macs: int


def make(variant: str, image_size: int, num_tokens: int,
         location: int) -> List[Contender]:
  """Returns the Garden's plain ViT, ours, and ours with a TokenLearner.

  All have float32 weights, mean pooling, no pre-logits layer, no dropout and a
  linear head. The two plain models compute the same function with the same
  number of weights.

  Raises:
    UserError: the variant, size or location is invalid.
  """
  input_size = (image_size, image_size, 3)
  plain = backbones.ViTSpec(variant)
  tokens = backbones.ViTSpec(
      variant, num_tokens=num_tokens, token_learner_location=location)
  macs = [cost.classifier_cost(spec, input_size, NUM_CLASSES).macs
          for spec in (plain, tokens)]
  return [
      Contender('Model Garden ViT',
                garden(plain.completed(input_size), image_size), macs[0]),
      Contender('ours, plain', ours(plain, image_size), macs[0]),
      Contender(f'ours, {num_tokens} tokens at {location}',
                ours(tokens, image_size), macs[1]),
  ]


def ours(spec: backbones.ViTSpec, image_size: int) -> tf_keras.Model:
  """Returns our classifier with the backbone of a spec."""
  vit_of_spec = backbones.VisionTransformer(spec, (image_size, image_size, 3))
  return backbones.Classifier(vit_of_spec, NUM_CLASSES)


def garden(spec: backbones.ViTSpec, image_size: int) -> tf_keras.Model:
  """Returns the Garden's classifier for a completed spec of a plain ViT."""
  input_specs = tf_keras.layers.InputSpec(
      shape=[None, image_size, image_size, 3])
  backbone = vit.VisionTransformer(
      mlp_dim=spec.mlp_dim, num_heads=spec.num_heads,
      num_layers=spec.num_layers, hidden_size=spec.hidden_size,
      patch_size=spec.patch_size[0], dropout_rate=0., pooler='gap',
      input_specs=input_specs)
  return classification_model.ClassificationModel(
      backbone, NUM_CLASSES, input_specs)
