"""Video files: decoded frames, and reasons of refusal."""

import fractions
import os
import pathlib
import re
import struct

import av
import numpy as np
import pytest

from tests.data import video_making
from tf_tokenlearner.data import video_files

NO_VIDEO = 'no video, or its header is cut off'


def decode(path, fps=30, short_side=1000):
  return list(video_files.decode(str(path), fps, short_side))


def shape(jpegs):
  """(number, height, width)."""
  return video_making.read_jpegs(jpegs).shape[:3]


def refused(path, **options):
  """The reason."""
  with pytest.raises(video_files.UnreadableVideoError) as error:
    decode(path, **options)
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('name,codec,pixels', [
    ('a.mp4', 'libx264', 'yuv420p'), ('a.mov', 'libx264', 'yuv420p'),
    ('a.mkv', 'libx264', 'yuv420p'), ('a.m4v', 'libx264', 'yuv420p'),
    ('a.avi', 'mpeg4', 'yuv420p'), ('a.avi', 'mjpeg', 'yuvj420p'),
    ('a.avi', 'rawvideo', 'bgr24'),
    ('a.webm', 'libvpx', 'yuv420p'), ('a.webm', 'libvpx-vp9', 'yuv420p'),
    ('a.webm', 'libvpx-vp9', 'yuva420p'), ('a.mpg', 'mpeg2video', 'yuv420p'),
    ('a.ts', 'mpeg2video', 'yuv420p'), ('a.wmv', 'wmv2', 'yuv420p'),
    ('a.mp4', 'libx264', 'yuv444p'),
    ('a.mp4', 'libx264', 'yuv422p10le'), ('a.mkv', 'ffv1', 'yuv420p16le'),
    ('a.flv', 'flv', 'yuv420p'), ('a.3gp', 'libx264', 'yuv420p'),
    ('a.mkv', 'libsvtav1', 'yuv420p'),
    ('a.mov', 'qtrle', 'argb'), ('a.mov', 'prores', 'yuv422p10le'),
    ('a.mkv', 'ffv1', 'bgra'),
])
def test_codecs_and_pixels(tmp_path, name, codec, pixels):
  path = video_making.write(
      tmp_path / name, video_making.numbered(12), 30, codec, pixels)
  jpegs = decode(path)
  assert all(jpeg.startswith(b'\xff\xd8\xff') for jpeg in jpegs)
  assert shape(jpegs) == (12, 48, 64)
  assert video_making.numbers(jpegs) == list(range(12))
  corner = video_making.read_jpegs(jpegs)[:, :10, :14]
  assert corner.mean() > 240


def test_grey(tmp_path):
  frames = video_making.numbered(12)
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=30)
    stream.height, stream.width, stream.pix_fmt = 48, 64, 'gray'
    for pixels in frames:
      container.mux(stream.encode(
          av.VideoFrame.from_ndarray(pixels[..., 0].copy(), 'gray')))
    container.mux(stream.encode())
  brightness = video_making.read_jpegs(decode(path))[:, 24:, 32:]
  assert (np.diff(brightness.mean((1, 2, 3))) > 5).all()
  assert np.ptp(brightness.astype(int), axis=-1).max() <= 2


def test_gif(tmp_path):
  path = video_making.write(
      tmp_path / 'a.gif', video_making.numbered(12), 10, 'gif', 'rgb8')
  assert shape(decode(path, 10)) == (12, 48, 64)
  brightness = video_making.read_jpegs(decode(path, 10))[:, 24:, 32:]
  assert (np.diff(brightness.mean((1, 2, 3))) >= 0).all()
  # Cut off between two frames it looks whole but for its last byte.
  with open(path, 'rb+') as file:
    file.truncate(os.path.getsize(path) - 1)
  assert refused(path) == 'cut off'


def test_colours(tmp_path):
  """Those of the file's own conversion matrix."""
  frames = np.zeros([3, 32, 32, 3], np.uint8)
  frames[..., 0] = 255
  path = tmp_path / 'red.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=30)
    stream.height = stream.width = 32
    stream.pix_fmt = 'yuv444p'
    stream.codec_context.colorspace = 1  # BT.709.
    for pixels in frames:
      frame = av.VideoFrame.from_ndarray(pixels).reformat(
          format='yuv444p', dst_colorspace='itu709')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  means = video_making.read_jpegs(decode(path)).mean((0, 1, 2))
  np.testing.assert_allclose(means, [255, 0, 0], atol=6)


@pytest.mark.parametrize('rate,fps,expected', [
    (30, 30, list(range(15))),
    (30, 10, [0, 3, 6, 9, 12]),
    (30, 15, [0, 2, 4, 6, 8, 10, 12, 14]),
    # Too few frames repeat.
    (10, 20, [i // 2 for i in range(30)]),
    (12, 25, [i * 12 // 25 for i in range(32)]),
    (30, 25, [i * 30 // 25 for i in range(13)]),
    (24, 24, list(range(15))),
    (fractions.Fraction(30000, 1001), 30000 / 1001, list(range(15))),
])
@pytest.mark.parametrize('name,codec', [
    ('a.mp4', 'libx264'), ('a.mkv', 'libx264')])
def test_rates(tmp_path, rate, fps, expected, name, codec):
  """MP4 knows times exactly, Matroska rounds them to milliseconds."""
  path = video_making.write(
      tmp_path / name, video_making.numbered(15), rate, codec)
  assert video_making.numbers(decode(path, fps)) == expected


def test_avi_rates(tmp_path):
  """Time stamps count frames."""
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(15), 10, 'mpeg4')
  assert video_making.numbers(decode(path, 10)) == list(range(15))
  assert video_making.numbers(decode(path, 5)) == list(range(0, 15, 2))
  assert len(decode(path, 25)) == 37


@pytest.mark.parametrize('name,codec', [
    ('a.mp4', 'libx264'), ('a.mkv', 'libx264'), ('a.webm', 'libvpx')])
def test_variable_rate(tmp_path, name, codec):
  seconds = [0, .1, .2, .7, .72, .74, 1.2, 1.3]
  path = video_making.write(
      tmp_path / name, video_making.numbered(8), 30, codec, seconds=seconds)
  shown = [max(i for i, second in enumerate(seconds) if second <= k / 20 + 1e-6)
           for k in range(27)]
  assert video_making.numbers(decode(path, 20))[:27] == shown


def test_avi_with_empty_frames(tmp_path):
  """Each repeats the frame before; cameras and capture programs write them."""
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(5), 10, 'mpeg4',
      seconds=[0, .8, 1.6, 2., 2.8], clock=10)
  expected = [0] * 8 + [1] * 8 + [2] * 4 + [3] * 8 + [4]
  assert video_making.numbers(decode(path, 10)) == expected
  assert video_making.numbers(decode(path, 5)) == expected[::2]
  # More of them at the end are in the header only.
  with open(path, 'rb+') as file:
    data = file.read()
    at = data.index(b'strh') + 40
    assert struct.unpack('<I', data[at:at + 4]) == (29,)
    file.seek(at)
    file.write(struct.pack('<I', 33))
  assert video_making.numbers(decode(path, 10)) == expected + [4] * 4
  with open(path, 'rb+') as file:
    file.truncate(data.index(b'idx1'))
  assert re.fullmatch(r'cut off, \d of \d\d frames are there', refused(path))


def test_theora_with_empty_frames():
  """Encoders write them for a still picture; PyAV has no encoder of Theora."""
  path = pathlib.Path(__file__).with_name('theora_stills.ogv')
  with av.open(str(path)) as container:
    assert sum(not packet.size for packet in container.demux(video=0)) > 20
  assert video_making.numbers(decode(path, 10)) == [0] * 9 + [1] * 9 + [2] * 7


@pytest.mark.parametrize('codec,options', [
    ('libx265', {'x265-params': 'log-level=none:keyint=10:min-keyint=10:'
                                'bframes=4:b-adapt=0:open-gop=1:scenecut=0'}),
    ('libx264', {'x264-params': 'keyint=10:min-keyint=10:bframes=4:b-adapt=0:'
                                'open-gop=1:scenecut=0'})])
def test_stream_cut_out_of_a_longer_one(tmp_path, codec, options):
  """Frames that refer to a group of pictures before the cut are not counted."""
  frames = np.random.default_rng(0).integers(
      0, 255, (30, 48, 64, 3), np.uint8) // 16 + 8 * np.arange(
          30, dtype=np.uint8)[:, None, None, None]
  path = video_making.write(
      tmp_path / 'a.ts', frames, 10, codec, options=options)
  assert len(decode(path, 10)) == 30
  with av.open(path) as container:
    packets = [packet for packet in container.demux(video=0)
               if packet.dts is not None]
    key = [i for i, packet in enumerate(packets) if packet.is_keyframe][1]
    places = {packet.dts: i for i, packet in enumerate(packets)}
    num_leading = sum(packet.pts < packets[key].pts for packet in packets[key:])
    assert num_leading == 4
  for first in (key, key - 4):  # At a key frame, and inside a group.
    cut = video_making.remux(
        path, tmp_path / f'{first}.ts',
        lambda packet, first=first: places[packet.dts] >= first)
    whole = len(packets) - key - num_leading
    assert whole <= len(decode(cut, 10)) <= len(packets) - first


def test_times_that_do_not_start_at_zero(tmp_path):
  path = video_making.write(
      tmp_path / 'a.mkv', video_making.numbered(5), 30,
      seconds=[5 + i / 10 for i in range(5)])
  assert video_making.numbers(decode(path, 10)) == list(range(5))


def test_one_frame(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', video_making.numbered(1))
  assert video_making.numbers(decode(path, 30)) == [0]
  assert video_making.numbers(decode(path, 1)) == [0]


@pytest.mark.parametrize('height,width,short_side,expected', [
    (48, 64, 24, (24, 32)), (64, 48, 24, (32, 24)), (48, 64, 256, (48, 64)),
    (45, 31, 1000, (45, 31)), (45, 31, 20, (29, 20)), (2, 300, 8, (2, 300)),
    (540, 960, 256, (256, 455)),
])
def test_sizes(tmp_path, height, width, short_side, expected):
  """The short side decides; nothing is enlarged."""
  path = video_making.write(
      tmp_path / 'a.mkv', video_making.numbered(2, height, width), 30, 'ffv1',
      'bgr0')
  assert shape(decode(path, short_side=short_side))[1:] == expected


def test_reducing_averages(tmp_path):
  """Else fine patterns turn into coarse ones."""
  frames = np.zeros([2, 64, 64, 3], np.uint8)
  frames[:, ::2] = 255
  path = video_making.write(tmp_path / 'a.mkv', frames, 30, 'ffv1', 'bgr0')
  reduced = video_making.read_jpegs(decode(path, short_side=16))
  np.testing.assert_allclose(reduced, 127, atol=12)


def test_pixels_become_square(tmp_path):
  path = video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(2, 48, 32), ratio=2)
  assert shape(decode(path)) == (2, 48, 64)
  assert shape(decode(path, short_side=24)) == (2, 24, 32)


@pytest.mark.parametrize('matrix,size,corner', [
    ((1, 0, 0, 1), (48, 64), (0, 0)),
    ((-1, 0, 0, 1), (48, 64), (0, -1)),  # Mirrored.
    ((1, 0, 0, -1), (48, 64), (-1, 0)),  # Upside down, that is mirrored too.
    ((-1, 0, 0, -1), (48, 64), (-1, -1)),  # Turned by 180 degrees.
    ((0, 1, -1, 0), (64, 48), (0, -1)),  # Turned by 90 degrees clockwise.
    ((0, -1, 1, 0), (64, 48), (-1, 0)),  # Turned by 270 degrees clockwise.
    ((0, 1, 1, 0), (64, 48), (0, 0)),  # Both turns, mirrored.
    ((0, -1, -1, 0), (64, 48), (-1, -1))])
def test_display_matrix(tmp_path, matrix, size, corner):
  """Size and place of the white corner tell the eight orientations apart."""
  path = video_making.set_matrix(video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(2, 48, 64)), *matrix)
  frames = video_making.read_jpegs(decode(path))
  assert frames.shape[1:3] == size
  corners = {at: frames[0][at].min() for at in
             [(0, 0), (0, -1), (-1, -1), (-1, 0)]}
  assert max(corners, key=corners.get) == corner


def test_display_matrix_of_a_small_angle(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', video_making.numbered(2))
  expected = decode(path)
  with open(path, 'rb+') as file:
    data = file.read()
    file.seek(data.index(b'tkhd') + 44)
    # Turned by 30 degrees.
    file.write(struct.pack('>5i', 56756, 32768, 0, -32768, 56756))
  assert decode(path) == expected


def test_size_that_changes_midway(tmp_path):
  parts = []
  for i, width in enumerate((64, 96)):
    path = video_making.write(
        tmp_path / f'{i}.ts', video_making.numbered(4, 48, width), 30,
        'mpeg2video')
    with open(path, 'rb') as file:
      parts.append(file.read())
  (tmp_path / 'both.ts').write_bytes(b''.join(parts))
  assert {frame.shape for frame in video_making.read_jpegs(
      decode(tmp_path / 'both.ts'))} == {(48, 64, 3)}


def test_first_of_several_streams(tmp_path):
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    for height in (32, 48):
      stream = container.add_stream('mjpeg', rate=30)
      stream.height, stream.width, stream.pix_fmt = height, 64, 'yuvj420p'
    for stream in container.streams.video:
      for pixels in video_making.numbered(4, stream.height):
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
  assert shape(decode(path)) == (4, 32, 64)


def test_cover_picture_is_no_video(tmp_path):
  path = tmp_path / 'song.mp4'
  with av.open(str(path), 'w') as container:
    cover = container.add_stream('mjpeg')
    cover.height, cover.width, cover.pix_fmt = 16, 16, 'yuvj420p'
    cover.disposition = av.stream.Disposition.attached_pic
    sound = container.add_stream('aac', rate=8000, layout='mono')
    samples = av.AudioFrame.from_ndarray(
        np.zeros([1, 1024], np.float32), 'fltp', 'mono')
    samples.rate = 8000
    for packet in [*sound.encode(samples), *sound.encode()]:
      container.mux(packet)
    encoder = av.CodecContext.create('mjpeg', 'w')
    encoder.height, encoder.width, encoder.pix_fmt = 16, 16, 'yuvj420p'
    encoder.time_base = fractions.Fraction(1, 25)
    picture = av.VideoFrame(16, 16, 'yuvj420p')
    picture.pts, picture.time_base = 0, encoder.time_base
    packet, = encoder.encode(picture)
    packet.stream = cover
    container.mux(packet)
  with av.open(str(path)) as container:
    assert len(container.streams.video) == 1
  assert refused(path) == 'no video in it'


def test_sound_may_be_longer(tmp_path):
  for name in ('a.mp4', 'a.mkv'):
    path = video_making.write_sound(
        tmp_path / name, 2., video_making.numbered(15))
    assert video_making.numbers(decode(path)) == list(range(15))


def test_type_is_detected_from_content(tmp_path):
  path = video_making.write(
      tmp_path / 'a.webm', video_making.numbered(4), 30, 'libvpx-vp9')
  os.rename(path, tmp_path / 'http:b.mp4')
  assert len(decode(tmp_path / 'http:b.mp4')) == 4


def test_bytes_of_names_that_are_no_text(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', video_making.numbered(4))
  odd = os.fsdecode(os.path.join(os.fsencode(tmp_path), b'\xff b.mp4'))
  os.rename(path, odd)
  assert len(decode(odd)) == 4


def test_titles_that_are_not_utf8(tmp_path):
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(4), 30, 'mpeg4')
  with av.open(path) as source, av.open(
      str(tmp_path / 'b.avi'), 'w') as target:
    target.metadata['title'] = 'Saao Joaao'
    stream = target.add_stream_from_template(source.streams.video[0])
    for packet in source.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        target.mux(packet)
  data = (tmp_path / 'b.avi').read_bytes()
  assert b'Saao Joaao' in data
  (tmp_path / 'b.avi').write_bytes(
      data.replace(b'Saao Joaao', 'S\xe3o  Jo\xe3o '.encode('latin1')))
  assert video_making.numbers(decode(tmp_path / 'b.avi')) == [0, 1, 2, 3]


def test_stream_that_appears_midway(tmp_path):
  """PyAV, which lists the streams before, stumbles over it at the end."""
  noise = np.random.default_rng(0).integers(
      0, 255, (24, 240, 320, 3), np.uint8)
  parts = []
  for count, pid in ((24, 256), (3, 300)):
    path = video_making.write(
        tmp_path / f'{pid}.ts', noise[:count], 30, 'mpeg2video',
        container_options={'mpegts_start_pid': str(pid)})
    with open(path, 'rb') as file:
      parts.append(file.read())
  path = tmp_path / 'both.ts'
  path.write_bytes(parts[0] + parts[1] + parts[0])
  with av.open(str(path)) as container, pytest.raises(IndexError):
    list(container.demux())
  assert len(decode(path)) == 24


def test_sides_that_do_not_fit_into_jpeg(tmp_path):
  path = video_making.write(
      tmp_path / 'a.mkv', np.zeros([1, 16, 70_000, 3], np.uint8), 30, 'ffv1',
      'bgr0')
  assert refused(path) == (
      'has frames of 70000 x 16 pixels, at most 65,500 on a side fit into JPEG')
  assert shape(decode(path, short_side=8)) == (1, 8, 35_000)


@pytest.mark.parametrize('content,reason', [
    (b'', 'empty file'),
    (b'hello\nworld\n' * 99, NO_VIDEO), (bytes(9999), NO_VIDEO),
    (b'<html><body>404</body></html>', NO_VIDEO),
    (b'#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4\na.mp4\n#EXT-X-ENDLIST\n',
     NO_VIDEO),
    (b"ffconcat version 1.0\nfile 'a.mp4'\n", NO_VIDEO),
    (video_making.cv2.imencode('.png', np.zeros([9, 9, 3], np.uint8))[1]
     .tobytes(), NO_VIDEO),
    (video_making.cv2.imencode('.jpg', np.zeros([9, 9, 3], np.uint8))[1]
     .tobytes(), NO_VIDEO),
    (np.random.default_rng(0).bytes(99_999), NO_VIDEO),
])
def test_no_video(tmp_path, content, reason):
  video_making.write(tmp_path / 'a.mp4', video_making.numbered(4))
  (tmp_path / 'b.mp4').write_bytes(content)
  assert refused(tmp_path / 'b.mp4') == reason


def test_other_reasons(tmp_path):
  assert refused(tmp_path / 'none.mp4') == 'No such file or directory'
  assert refused(tmp_path) == 'no regular file'
  os.mkfifo(tmp_path / 'pipe.mp4')
  assert refused(tmp_path / 'pipe.mp4') == 'no regular file'
  assert refused(
      video_making.write_sound(tmp_path / 'a.mp4')) == 'no video in it'


NOISE = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), np.uint8)


@pytest.mark.parametrize('share', [.5, .9])
@pytest.mark.parametrize('name,codec,reason', [
    ('a.mp4', 'libx264', NO_VIDEO),  # Its header comes last.
    ('fast.mp4', 'libx264', r'cut off, \d\.\d of 2\.0 s are there'),
    ('a.mkv', 'libx264', r'cut off, \d\.\d of 2\.0 s are there'),
    ('a.webm', 'libvpx-vp9', r'cut off, \d\.\d of 2\.0 s are there'),
    ('a.avi', 'mpeg4', r'cut off, \d\d of 60 frames are there'),
    ('a.avi', 'mjpeg', r'cut off, \d\d of 60 frames are there'),
    ('a.gif', 'gif', 'cut off'),
])
def test_cut_off(tmp_path, name, codec, reason, share):
  options = {'movflags': 'faststart'} if 'fast' in name else {}
  pixels = {'gif': 'rgb8', 'mjpeg': 'yuvj420p'}.get(codec, 'yuv420p')
  path = video_making.write(tmp_path / name, NOISE, 30, codec, pixels,
                            container_options=options)
  assert len(decode(path)) in (60, 61)
  with open(path, 'rb+') as file:
    file.truncate(int(share * os.path.getsize(path)))
  assert re.fullmatch(reason, refused(path))


@pytest.mark.parametrize('codec', ['libx264', 'libx265', 'libvpx-vp9', 'mjpeg'])
def test_damaged(tmp_path, codec, capfd):
  """Frames that are missing in the middle are as bad as those at the end."""
  pixels = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
  options = {'x265-params': 'log-level=none'} if codec == 'libx265' else {}
  path = video_making.write(
      tmp_path / 'a.mp4', NOISE, 30, codec, pixels, options=options)
  capfd.readouterr()
  size = os.path.getsize(path)
  with open(path, 'rb+') as file:
    file.seek(size // 3)
    file.write(np.random.default_rng(1).bytes(size // 4))
  assert re.fullmatch(r'corrupt, \d+ of 60 frames cannot be decoded',
                      refused(path))
  assert capfd.readouterr() == ('', '')  # FFmpeg has much to say.


def test_little_damage_is_tolerated(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', NOISE, 30, 'mjpeg', 'yuvj420p')
  with open(path, 'rb+') as file:
    file.seek(os.path.getsize(path) // 2)
    file.write(b'\xff' * 99)
  assert len(decode(path)) == 60  # The frame before takes its place.


def test_nothing_to_decode(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', NOISE[:9], 30, 'mjpeg',
                            'yuvj420p')
  with open(path, 'rb+') as file:
    data = file.read()
    start, end = data.index(b'\xff\xd8'), data.rindex(b'\xff\xd9')
    file.seek(start)
    file.write(bytes(end - start))
  assert refused(path) == 'no frame can be decoded'


def test_unknown_codec(tmp_path):
  path = video_making.write(tmp_path / 'a.mp4', NOISE[:9])
  with open(path, 'rb+') as file:
    data = file.read().replace(b'avc1', b'qqqq')
    file.seek(0)
    file.write(data)
  assert refused(path) == 'its codec is not known'


def test_announced_size_is_checked_before_decoding(tmp_path, monkeypatch):
  path = video_making.write(tmp_path / 'a.mp4', NOISE[:9])
  monkeypatch.setattr(video_files, 'MAX_PIXELS', 3000)
  monkeypatch.setattr(video_files, '_frames', lambda *unused: 1 / 0)
  assert refused(path) == 'announces 64 x 48 pixels, more than 3,000'


def test_announced_length_is_checked_before_decoding(tmp_path, monkeypatch):
  path = video_making.write(tmp_path / 'a.mp4', NOISE)
  monkeypatch.setattr(video_files, 'MAX_FRAMES', 30)
  monkeypatch.setattr(video_files, '_frames', lambda *unused: 1 / 0)
  assert refused(path) == 'announces 2 s, more than 1'


def test_length_that_is_not_announced(tmp_path, monkeypatch):
  """Here, one picture for years."""
  path = video_making.write(
      tmp_path / 'a.ts', NOISE[:4], 30, seconds=[0, .1, .2, 9e4])
  assert refused(path) == 'longer than 667 s'
  monkeypatch.setattr(video_files, '_MAX_DECODED', 3)
  assert refused(path, fps=1e-3) == 'has more than 3 frames'
  monkeypatch.setattr(video_files, 'MAX_BYTES', 2**20 // 999)
  assert refused(path) == 'larger than 0 MiB as JPEG frames'


def test_frames_larger_than_announced(tmp_path, monkeypatch):
  for i in range(2):
    video_making.write(tmp_path / f'{i}.ts', NOISE[:4].repeat(
        1 + i, axis=2), 30, 'mpeg2video')
  (tmp_path / 'both.ts').write_bytes(
      (tmp_path / '0.ts').read_bytes() + (tmp_path / '1.ts').read_bytes())
  monkeypatch.setattr(video_files, 'MAX_PIXELS', 64 * 48)
  assert re.fullmatch('corrupt, [45] of 8 frames cannot be decoded',
                      refused(tmp_path / 'both.ts'))


def test_frames_come_one_by_one(tmp_path, monkeypatch):
  """Only a few frames of a large video are in memory."""
  path = video_making.write(tmp_path / 'a.mp4', NOISE)
  encoded, encode = [], video_files._Encoder.encode
  monkeypatch.setattr(
      video_files._Encoder, 'encode',
      lambda self, frame: encoded.append(frame) or encode(self, frame))
  frames = video_files.decode(path, 30, 24)
  next(frames)
  assert len(encoded) == 1
  frames.close()
