"""Runs a TFLite file by LiteRT, without tf_tokenlearner.

  python litert_client.py MODEL.tflite INPUTS.npy BATCH ANSWERS.npz

Feeds the inputs, float32 [N, ...], to the only signature, BATCH at a time. Runs
in a process of its own, as on the device that will run the file.
"""

from ai_edge_litert import interpreter
import sys
import zipfile

import numpy as np


def main(model: str, inputs_path: str, batch_size: str,
         answers_path: str) -> None:
  loaded = interpreter.Interpreter(model_path=model)
  (name, signature), = loaded.get_signature_list().items()
  runner = loaded.get_signature_runner(name)
  inputs = np.load(inputs_path)
  answers = []
  for start in range(0, len(inputs), int(batch_size)):
    batch = inputs[start:start + int(batch_size)]
    missing = int(batch_size) - len(batch)
    padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
    outputs = runner(**{signature['inputs'][0]: padded})
    answers.append({
        key: value[:len(batch)] for key, value in outputs.items()})
  with zipfile.ZipFile(model) as files:
    label_names = files.read('labels.txt').decode().split('\n')[:-1]
  np.savez(answers_path, signature=name, label_names=label_names, **{
      key: np.concatenate([answer[key] for answer in answers])
      for key in signature['outputs']})


if __name__ == '__main__':
  main(*sys.argv[1:])
