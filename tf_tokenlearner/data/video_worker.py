"""A process that decodes videos; decoded_videos starts it and talks to it.

Each line on stdin is a job, each line on stdout says how one ended, in JSON. It
ends when stdin does, so when whoever started it dies; and, where a video does
not end, after the seconds that the job allows.
"""

import json
import os
import signal
import sys

from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import video_files


def main() -> None:
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other one.
  with os.fdopen(os.dup(1), 'w', encoding='ascii') as answers:
    os.dup2(2, 1)  # Whatever a library prints is no answer.
    for line in sys.stdin:
      job = json.loads(line)
      signal.alarm(job.pop('seconds_allowed'))  # Kills, even inside libav.
      said = answer(**job)
      signal.alarm(0)
      answers.write(json.dumps(said) + '\n')
      answers.flush()


def answer(path: str, target: str, fps: float, short_side: int) -> dict:
  """Decodes one video.

  Args:
    path: of the video.
    target: where the clip goes.
    fps: as in video_files.decode.
    short_side: as in video_files.decode.

  Returns:
    {}, or {'unreadable': why the video is}, or {'failed': (number, text)} of
    the error met while writing.
  """
  try:
    decoded_videos.write(target, video_files.decode(path, fps, short_side))
  except video_files.UnreadableVideoError as error:
    return {'unreadable': str(error)}
  except OSError as error:
    return {'failed': (error.errno, error.strerror)}
  except MemoryError:  # Not the video's fault.
    raise
  except Exception as error:  # pylint: disable=broad-except
    # One odd file must not end the preparation of all.
    text = ' '.join(str(error).split())
    return {'unreadable': f'cannot be decoded ({type(error).__name__}: {text})'}
  return {}


if __name__ == '__main__':
  main()
