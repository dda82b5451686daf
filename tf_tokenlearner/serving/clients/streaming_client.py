"""Streams videos through an export, without tf_tokenlearner.

  python streaming_client.py FORMAT EXPORT CLIPS.npz LENGTH ANSWERS.npz

FORMAT is saved_model or tflite. The clips, arrays [T, H, W, 3], go to the
signature step one after the other as one video, LENGTH frames at a time. Runs
in a process of its own, as the software that will use the export.
"""

import sys

import numpy as np


def main(export_format: str, export: str, clips_path: str, length: str,
         answers_path: str) -> None:
  init_state, step = {'saved_model': _saved_model, 'tflite': _tflite}[
      export_format](export)
  clips, length = np.load(clips_path), int(length)
  state = init_state()
  probabilities = []
  for number in range(len(clips.files)):
    frames = clips[f'arr_{number}']
    for start in range(0, len(frames), length):
      outputs = step(frames=frames[np.newaxis, start:start + length], **state)
      state = {key: outputs[key] for key in state}
      probabilities.append(np.asarray(outputs['probabilities'])[0])
  np.savez(answers_path, probabilities=probabilities)


def _saved_model(path):
  import tensorflow as tf

  signatures = tf.saved_model.load(path).signatures
  def step(frames, **state):
    return signatures['step'](frames=tf.constant(frames), **state)

  return lambda: signatures['init_state'](batch_size=tf.constant(1)), step


def _tflite(path):
  from ai_edge_litert import interpreter

  loaded = interpreter.Interpreter(model_path=path)
  return (loaded.get_signature_runner('init_state'),
          loaded.get_signature_runner('step'))


if __name__ == '__main__':
  main(*sys.argv[1:])
