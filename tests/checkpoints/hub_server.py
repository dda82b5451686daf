"""A small Hugging Face hub on the loopback, for tests of real downloads."""

import hashlib
import http.server
import json
import os
import threading
import urllib.parse

COMMIT = '1' * 40


class HubServer:
  """Serves folders as repositories OWNER/NAME.

  Args:
    repositories: folder by OWNER/NAME.

  Attributes:
    address: to be given as HF_ENDPOINT.
    requests: (method, path, Range header) of each request.
    cut_after: bytes after which the next file transfers break off, by file
      name; each entry is used once unless `always_cut`.
    always_cut: cut every transfer of the files in cut_after.
  """

  def __init__(self, repositories):
    self.repositories = repositories
    self.requests = []
    self.cut_after = {}
    self.always_cut = False
    handler = type('Handler', (_Handler,), {'hub': self})
    self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    self.address = f'http://127.0.0.1:{self._server.server_port}'
    self._thread = threading.Thread(
        target=self._server.serve_forever, daemon=True)

  def __enter__(self):
    self._thread.start()
    return self

  def __exit__(self, *unused_error):
    self._server.shutdown()
    self._server.server_close()
    self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
  """Answers the requests that huggingface_hub makes for a snapshot."""
  hub: HubServer
  protocol_version = 'HTTP/1.1'

  def log_message(self, *unused_arguments):
    pass

  def do_HEAD(self):
    self._answer()

  def do_GET(self):
    self._answer()

  def _answer(self):
    path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
    self.hub.requests.append((self.command, path, self.headers.get('Range')))
    for name, folder in self.hub.repositories.items():
      if path.startswith(f'/api/models/{name}'):
        rest = path[len(f'/api/models/{name}'):]
        return self._describe(name, folder, rest)
      if path.startswith(f'/{name}/resolve/'):
        file = path[len(f'/{name}/resolve/'):].split('/', 1)[1]
        return self._send_file(os.path.join(folder, file), file)
    self._error(404, 'RepoNotFound', 'Repository not found')

  def _describe(self, name, folder, rest):
    revision = rest.partition('/revision/')[2] or 'main'
    if '/tree/' in rest:
      revision = rest.partition('/tree/')[2].split('/')[0]
    if revision not in ('main', COMMIT):
      return self._error(404, 'RevisionNotFound', 'Revision not found')
    files = sorted(os.listdir(folder))
    if '/tree/' in rest:
      return self._send_json([{
          'type': 'file', 'path': file, 'oid': _digest(folder, file)[:40],
          'size': os.path.getsize(os.path.join(folder, file))}
                              for file in files])
    self._send_json({
        'id': name, 'modelId': name, 'sha': COMMIT, 'private': False,
        'tags': [], 'downloads': 0, 'likes': 0,
        'siblings': [{'rfilename': file} for file in files]})

  def _send_file(self, path, name):
    if not os.path.exists(path):
      return self._error(404, 'EntryNotFound', 'Entry not found')
    with open(path, 'rb') as file:
      data = file.read()
    etag = hashlib.sha256(data).hexdigest()
    first = 0
    if self.headers.get('Range'):
      first = int(self.headers['Range'][len('bytes='):].split('-')[0])
    body = data[first:]
    self.send_response(206 if first else 200)
    self.send_header('ETag', f'"{etag}"')
    self.send_header('X-Repo-Commit', COMMIT)
    self.send_header('Accept-Ranges', 'bytes')
    self.send_header('Content-Length', str(len(body)))
    if first:
      self.send_header(
          'Content-Range', f'bytes {first}-{len(data) - 1}/{len(data)}')
    self.end_headers()
    if self.command == 'HEAD':
      return
    cut = self.hub.cut_after.get(name)
    if cut is not None:
      if not self.hub.always_cut:
        del self.hub.cut_after[name]
      body = body[:cut]
      self.close_connection = True
    self.wfile.write(body)

  def _send_json(self, values):
    data = json.dumps(values).encode()
    self.send_response(200)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(data)

  def _error(self, code, name, message):
    data = json.dumps({'error': message}).encode()
    self.send_response(code)
    self.send_header('X-Error-Code', name)
    self.send_header('X-Error-Message', message)
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(data)


def _digest(folder, file):
  with open(os.path.join(folder, file), 'rb') as opened:
    return hashlib.sha1(opened.read()).hexdigest()
