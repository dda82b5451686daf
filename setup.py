"""tf_tokenlearner: TokenLearner classifiers for TensorFlow 2."""

import pathlib
import re

import setuptools
from setuptools.command import build_py

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
    r"^__version__ = '(.+)'$",
    (_ROOT / 'tf_tokenlearner' / '__init__.py').read_text(encoding='utf-8'),
    re.MULTILINE).group(1)


class BuildWithConfigs(build_py.build_py):
  """Build of the package that puts official_configs inside."""

  def run(self):
    super().run()
    if self.editable_mode:  # The clone's folder is found next to the package.
      return
    for path in sorted((_ROOT / 'official_configs').rglob('*.yaml')):
      target = (pathlib.Path(self.build_lib) / 'tf_tokenlearner'
                / path.relative_to(_ROOT))
      target.parent.mkdir(parents=True, exist_ok=True)
      self.copy_file(str(path), str(target))


setuptools.setup(
    name='tf_tokenlearner',
    version=_VERSION,
    description='TokenLearner image and video classifiers for TensorFlow 2.',
    long_description=(_ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[  # 'make test-pythons' runs the smoke test on each version.
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
    # Folders without __init__.py, such as serving/clients, included.
    packages=setuptools.find_namespace_packages(include=['tf_tokenlearner*']),
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': [
        'tokenlearner-train = tf_tokenlearner.train:run',
        'tokenlearner-predict = tf_tokenlearner.predict:run',
        'tokenlearner-export = tf_tokenlearner.export:run',
        'tokenlearner-runs = tf_tokenlearner.runs:run',
    ]},
    python_requires='>=3.10,<3.14',
    install_requires=[
        # The layers and backbones need these two alone.
        'tensorflow>=2.20,<2.21',
        'tf_keras>=2.20,<2.21',  # The Keras that the Model Garden uses.
        # Trainer, config system, optimizers, augmentation.
        'tf-models-official>=2.20,<2.21',
        'tensorflow-datasets>=4.9.9,<4.10',  # All input data.
        # An undeclared dependency of tensorflow-datasets.
        'importlib_resources>=6,<8',
        'tensorflow-hub>=0.16.1,<0.17',  # Hub modules, read and written.
        'setuptools>=65,<81',  # tensorflow-hub imports its pkg_resources.
        'absl-py>=1.4,<3',  # Flags, logging.
        'numpy>=1.26,<3',  # Arrays of checkpoints and exports.
        'PyYAML>=6,<7',  # Configs.
        'scikit-learn>=1.5,<2',  # The embedded digits.
        'scipy>=1.11,<2',  # Resizes position embeddings.
        # Images that TensorFlow decodes wrongly; the Garden needs it as well.
        'opencv-python-headless>=4.8,<6',
        # Videos: exact time stamps; corrupt files raise an error.
        'av>=17.1,<19',
        'msgpack>=1,<2',  # Checkpoints of the official code, without Flax.
        'requests>=2.28,<3',  # Checks that a host answers before TFDS waits.
    ],
    extras_require={
        # Optimizers. End of life: there are no wheels beyond Python 3.11.
        'addons': ['tensorflow-addons>=0.23,<0.24; python_version < "3.12"'],
        # Checkpoints of the official code in Orbax format.
        'orbax': ['tensorstore>=0.1.60,<0.2'],
        # Pretrained weights: downloads from the Hugging Face hub, and the
        # format of its files.
        'hub': ['huggingface_hub>=1.0,<3', 'safetensors>=0.5,<1'],
        # Runs TFLite files; TensorFlow's own interpreter is being removed.
        'tflite': ['ai-edge-litert>=2,<3'],
        'gpu': ['tensorflow[and-cuda]>=2.20,<2.21'],  # TensorFlow with CUDA.
        # The website of the documentation.
        'docs': ['mkdocs-material>=9.5,<10'],
        'dev': [
            # Run the notebooks of docs/.
            'ipykernel>=6.29,<8',
            'nbclient>=0.10,<1',
            'Pillow>=10,<14',  # Decodes images a second time, to compare.
            'pytest>=8,<10',  # The tests.
            'pytest-xdist>=3.5,<4',  # Runs them on several cores.
            'uv>=0.5,<1',  # Installs, and refreshes constraints.txt.
        ],
    },
)
