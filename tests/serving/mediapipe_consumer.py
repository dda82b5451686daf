"""Classifies images by MediaPipe, where tf_tokenlearner is not installed.

  python mediapipe_consumer.py MODEL.tflite IMAGES.npz OUT.json

Writes, for each uint8 image [H, W, 3], {class name: score} of the first head.
"""

import json
import sys

import mediapipe
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core import base_options
import numpy as np


def main(model: str, images_path: str, out_path: str) -> None:
  options = vision.ImageClassifierOptions(
      base_options=base_options.BaseOptions(model_asset_path=model))
  with vision.ImageClassifier.create_from_options(options) as classifier:
    answers = []
    for image in np.load(images_path).values():
      found = classifier.classify(mediapipe.Image(
          image_format=mediapipe.ImageFormat.SRGB, data=image))
      answers.append({category.category_name: category.score
                      for category in found.classifications[0].categories})
  with open(out_path, 'w', encoding='utf-8') as file:
    json.dump(answers, file)


if __name__ == '__main__':
  main(*sys.argv[1:])
