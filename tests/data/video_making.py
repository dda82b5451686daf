"""Video files for tests: the brightness of a frame tells which one it is."""

import fractions
import struct

import av
import cv2
import numpy as np

from tf_tokenlearner.data import video_worker

STEP = 9  # Of brightness, from one frame to the next.

# A worker that does something else with videos called 2.avi.
ODD_WORKER = '''
import os, signal, sys, time
from tf_tokenlearner.data import video_worker
decode_to_file = video_worker.decode_to_file
def changed(path, **options):
  if os.path.basename(path) == '2.avi':
    {}
  return decode_to_file(path, **options)
video_worker.decode_to_file = changed
video_worker.main()
'''


def change_worker(tmp_path, monkeypatch, text):
  """Makes the decoding processes run another program."""
  (tmp_path / 'other_worker.py').write_text(text)
  monkeypatch.setattr(video_worker, '_PROGRAM', 'other_worker')
  monkeypatch.syspath_prepend(str(tmp_path))


def numbered(count, height=48, width=64):
  """uint8 [T, H, W, 3], grey, a white corner at the top left."""
  frames = np.empty([count, height, width, 3], np.uint8)
  frames[:] = 10 + STEP * np.arange(count)[:, None, None, None]
  frames[:, :height // 4, :width // 4] = 255
  return frames


def write(path, frames, rate=30, codec='libx264', pixels='yuv420p',
          seconds=None, clock=1000, options=(), ratio=None, **open_options):
  """Encodes frames.

  Args:
    path: its extension chooses the container.
    frames: uint8 [T, H, W, 3].
    rate: frames a second.
    codec: as FFmpeg calls it.
    pixels: format of the encoded frames.
    seconds: when each frame is shown; at `rate` by default.
    clock: ticks a second, if seconds are given.
    options: of the codec, pairs.
    ratio: width of a pixel by its height.
    **open_options: of av.open.
  """
  with av.open(str(path), 'w', **open_options) as container:
    stream = container.add_stream(codec, rate=rate, options=dict(options))
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixels
    if ratio:
      stream.codec_context.sample_aspect_ratio = ratio
    if seconds is not None:
      stream.time_base = stream.codec_context.time_base = fractions.Fraction(
          1, clock)
    for i, pixels_of_frame in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(pixels_of_frame, 'rgb24')
      if seconds is not None:
        frame.pts = round(clock * seconds[i])
        frame.time_base = fractions.Fraction(1, clock)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return str(path)


def write_sound(path, seconds=1., frames=None):
  """A file with sound, and with a video if there are frames."""
  with av.open(str(path), 'w') as container:
    sound = container.add_stream('aac', rate=8000, layout='mono')
    video = None
    if frames is not None:
      video = container.add_stream('libx264', rate=30)
      video.height, video.width = frames.shape[1:3]
      video.pix_fmt = 'yuv420p'
      for pixels in frames:
        container.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
      container.mux(video.encode())
    for start in range(0, int(8000 * seconds), 1024):
      frame = av.AudioFrame.from_ndarray(
          np.zeros([1, 1024], np.float32), 'fltp', 'mono')
      frame.rate, frame.pts = 8000, start
      container.mux(sound.encode(frame))
    container.mux(sound.encode())
  return str(path)


def set_matrix(path, a, b, c, d):
  """Writes the display matrix [[a, b], [c, d]] into an MP4 file."""
  with open(path, 'rb') as file:
    data = bytearray(file.read())
  at = data.index(b'tkhd') + 4 + 40  # ISO/IEC 14496-12, 8.3.2.
  data[at:at + 36] = struct.pack(
      '>9i', a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
  with open(path, 'wb') as file:
    file.write(data)
  return path


def remux(source, target, keep):
  """Copies the packets of a video for which keep(packet) is true."""
  with av.open(str(source)) as old, av.open(str(target), 'w') as new:
    stream = new.add_stream_from_template(old.streams.video[0])
    for packet in old.demux(video=0):
      if packet.dts is not None and keep(packet):
        packet.stream = stream
        new.mux(packet)
  return str(target)


def read_jpegs(jpegs):
  """uint8 [T, H, W, 3] of JPEG files."""
  return np.stack([
      cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
      for jpeg in jpegs])


def numbers(jpegs):
  """Returns the numbers of frames made by `numbered`."""
  frames = read_jpegs(jpegs)
  height, width = frames.shape[1:3]
  middle = frames[:, height // 2:, width // 2:].mean((1, 2, 3))
  return np.rint((middle - 10) / STEP).astype(int).tolist()
