"""The Python blocks of the pages, and cheap commands, run."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
import tensorflow as tf

from tests.docs import pages

# Run in other ways below, or need software that is not installed.
_SPECIAL = {'http_server', 'serving_client', 'garden_train', 'keras3',
            'mediapipe'}
_PLAIN = [block for block in pages.blocks('python')
          if block.options.get('name') not in _SPECIAL]


def run_block(block):
  """Returns the names that a block defines."""
  names = {'__name__': 'block'}
  # pylint: disable-next=exec-used
  exec(compile(block.text, block.id, 'exec'), names)
  return names


def test_blocks_have_names():
  blocks = pages.blocks('python', 'bash', 'yaml')
  assert all('name' in block.options for block in blocks)
  ids = [block.id for block in blocks]
  assert len(ids) == len(set(ids))
  assert _SPECIAL <= {block.options['name'] for block in blocks}


@pytest.mark.parametrize('block', _PLAIN, ids=lambda block: block.id)
def test_block_runs(block, in_world):
  names = run_block(block)
  checks = {
      'README.layer': lambda: names['model'].output_shape == (None, 8, 768),
      'own_pictures.load_run': lambda: (
          names['scores'].shape == [2, 10]
          and names['outputs']['pre_logits'].shape == [2, 16]),
      'deploy.saved_model': lambda: names['answer']['errors'].numpy() == [b''],
      'deploy.streaming_saved_model': lambda: (
          names['answer']['num_steps'].numpy() == [4]),
      'deploy.streaming_tflite': lambda: names['answer']['num_steps'] == [4],
      'deploy.tfhub': lambda: (
          names['logits'].shape == [1, 2]
          and len(names['model'].trainable_weights) > 10),
      'model_garden.registered': lambda: (
          names['params'].task.model.input_size == [384, 384, 3]),
      'model_garden.backbone': lambda: (
          names['outputs']['pre_logits'].shape == [1, 768]),
      'research.from_pretrained': lambda: (
          names['logits'].shape == [1, 2]
          and 'fresh: encoder/learn_1' in names['model'].loading_report),
      'research.insert': lambda: (
          names['model'](names['examples'][:1]).shape == [1, 10]),
  }
  assert checks.get(block.id, lambda: True)()


def test_start_from_public_weights(in_world, data_dir, capsys):
  """README's command, with small weights of the same form and two pictures."""
  from tf_tokenlearner import run_folder
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.training import runner
  for split, label, file in (
      (split, label, file) for split in ('train', 'validation')
      for label, file in (('a', 'photo.png'), ('b', 'more_photos/1.png'))):
    path = in_world / 'two_pictures' / split / label
    path.mkdir(parents=True)
    shutil.copy(in_world / file, path)
  words, = pages.commands(pages.block('README.md', 'train').text)
  assert pages.block('docs/own_pictures.md', 'train').text == (
      pages.block('README.md', 'train').text)
  override = words[-1].removeprefix('--params_override=')
  for old, new in ((pages.PUBLIC_WEIGHTS, str(in_world / 'public_vit')),
                   ('=pictures', '=two_pictures')):
    assert old in override
    override = override.replace(old, new)

  def train(epochs, patience):
    params = experiments.for_training(
        'tokenlearner_finetune', 'runs/from_vit', [override, f'''
task: {{train_data: {{tfds_data_dir: {data_dir}}}}}
trainer: {{epochs: {epochs}, early_stopping: {{patience: {patience},
  metric: validation_loss}}, optimizer_config: {{
    learning_rate: {{cosine: {{initial_learning_rate: 0.0}}}}}}}}
runtime: {{distribution_strategy: one_device}}'''])
    runner.train('tokenlearner_finetune', params, 'runs/from_vit', True)
    return run_folder.load('runs/from_vit'), capsys.readouterr()

  run, said = train(epochs=9, patience=1)  # The loss never falls.
  stop = ('Stopped early at step 2: validation_loss has not improved on 0.6931,'
          ' of step 1, in 1 evaluations.')
  assert stop in said.err
  assert '2 training examples, batches of 8: 9 epochs are 9 steps' in said.err
  assert run.start['licence'] == 'apache-2.0' and run.num_examples == 2
  task, trainer = run.params['task'], run.params['trainer']
  assert task['validation_data']['center_crop_fraction'] == 1.
  assert task['train_data']['global_batch_size'] == 8
  assert task['freeze_below'] == 1
  assert task['model']['backbone']['token_learner_vit'][
      'token_learner_location'] == 1
  assert (trainer['epochs'], trainer['train_steps'],
          trainer['validation_interval']) == (9., 9, 1)
  assert run.latest_checkpoint().endswith('ckpt-2')
  _, said = train(epochs=9, patience=1)
  assert f'is at step 2 of 9. {stop}' in said.out
  run, _ = train(epochs=3, patience=2)  # Steps 1 to 3 in all.
  assert run.latest_checkpoint().endswith('ckpt-3')
  assert run.params['trainer']['train_steps'] == 3


def test_litert_block_prepares_as_predict(in_world, capsys):
  from tf_tokenlearner.prediction import run
  names = run_block(pages.block('docs/deploy.md', 'litert'))
  capsys.readouterr()
  run.predict('exported/pictures_tflite', ['photo.png'],
              run.Options('json', top=10))
  expected = {c['name']: c['probability']
              for c in json.loads(capsys.readouterr().out)['classes']}
  found = dict(zip(names['labels'], names['probabilities']))
  assert found == pytest.approx(expected, abs=1e-4)


def _free_port():
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    return probe.getsockname()[1]


def _post(url, data, process):
  """Answer of a server that may still be starting."""
  while process.poll() is None:
    try:
      with urllib.request.urlopen(url, data) as response:
        return response.status, json.load(response)
    except urllib.error.HTTPError as error:
      return error.code, json.load(error)
    except OSError:
      pass
  raise AssertionError(process.stderr.read())


def test_http_server(in_world, tmp_path):
  script = tmp_path / 'http_server.py'
  script.write_text(pages.block('docs/deploy.md', 'http_server').text)
  assert len(script.read_text().splitlines()) <= 24
  port = _free_port()
  with subprocess.Popen(
      [sys.executable, str(script), 'exported/pictures', str(port)],
      stderr=subprocess.PIPE, text=True) as process:
    try:
      url = f'http://localhost:{port}'
      status, answer = _post(url, (in_world / 'photo.png').read_bytes(),
                             process)
      assert status == 200 and len(answer) == 5
      model = tf.saved_model.load('exported/pictures')
      expected = model.signatures['image_bytes'](
          image_bytes=tf.constant([tf.io.read_file('photo.png').numpy()]))
      assert list(answer.values()) == pytest.approx(
          expected['top_probabilities'][0].numpy().tolist(), abs=1e-5)
    finally:
      process.kill()


class _Serving(http.server.BaseHTTPRequestHandler):
  """Answers as TensorFlow Serving's REST interface does."""

  def do_POST(self):
    import base64
    request = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
    files = [base64.b64decode(i['b64']) for i in request['instances']]
    answer = self.server.model.signatures[request['signature_name']](
        image_bytes=tf.constant(files))
    columns = {key: value.numpy().tolist() for key, value in answer.items()}
    text = lambda v: v.decode() if isinstance(v, bytes) else v
    rows = [{key: [text(v) for v in column[i]] if isinstance(column[i], list)
             else text(column[i]) for key, column in columns.items()}
            for i in range(len(files))]
    self.send_response(200)
    self.end_headers()
    self.wfile.write(json.dumps({'predictions': rows}).encode())

  def log_message(self, *unused_args):
    pass


def test_serving_client(in_world):
  server = http.server.HTTPServer(('localhost', 0), _Serving)
  server.model = tf.saved_model.load('exported/pictures')
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    done = subprocess.run(
        [sys.executable, '-c',
         pages.block('docs/deploy.md', 'serving_client').text,
         f'http://localhost:{server.server_port}/v1/models/pictures:predict',
         'photo.png', 'more_photos/1.png'],
        capture_output=True, text=True, check=True)
  finally:
    server.shutdown()
  assert [line.split()[0] for line in done.stdout.splitlines()] == [
      'photo.png', 'more_photos/1.png']


def test_keras_3_and_the_gardens_script(in_world, data_dir, environment):
  """Both need a process of their own: other Keras, other flags."""
  keras = subprocess.Popen(
      [sys.executable, '-c',
       pages.block('docs/deploy.md', 'keras3').text +
       'model.compile("adam", keras.losses.SparseCategoricalCrossentropy())\n'
       'import numpy as np\n'
       'model.fit(np.zeros([2, 9, 9, 3], "uint8"), np.array([0, 1]))\n'
       'print(keras.__version__, len(model.trainable_weights))'],
      stdout=subprocess.PIPE, text=True, env={
          key: value for key, value in environment.items()
          if key != 'TF_USE_LEGACY_KERAS'})
  (in_world / 'garden_train.py').write_text(
      pages.block('docs/model_garden.md', 'garden_train').text)
  _, *words = pages.commands(
      pages.block('docs/model_garden.md', 'garden_script').text)[0]
  words = [sys.executable, *words[1:]]
  words[-1] += (
      f',task.train_data.tfds_data_dir={data_dir}'
      f',task.validation_data.tfds_data_dir={data_dir},trainer.train_steps=2'
      ',trainer.steps_per_loop=2,trainer.summary_interval=2'
      ',trainer.validation_interval=2,trainer.checkpoint_interval=2'
      ',trainer.optimizer_config.warmup.linear.warmup_steps=1'
      ',runtime.distribution_strategy=one_device')
  done = subprocess.run(
      words, capture_output=True, text=True, check=False,
      env={**environment, 'TF_USE_LEGACY_KERAS': '1'})
  assert done.returncode == 0, done.stderr[-2000:]
  assert tf.train.latest_checkpoint('runs/stock').endswith('ckpt-2')
  version, trainable = keras.communicate()[0].split()[-2:]
  assert keras.returncode == 0
  assert version.startswith('3.') and trainable == '2'
  assert os.path.exists('runs/stock/params.yaml')


@pytest.mark.parametrize('page, name, expected', [
    ('README.md', 'predict', ['photo.png ', 'more_photos/1.png ']),
    ('docs/research.md', 'row_cost', ['28.2', '55.377 G MACs'])])
def test_cheap_commands(in_world, environment, page, name, expected):
  words, = pages.commands(pages.block(page, name).text)
  done = subprocess.run(words, capture_output=True, text=True, check=True,
                        env=environment, cwd=in_world)
  for text in expected:
    assert text in done.stdout
