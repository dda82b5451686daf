"""tf_tokenlearner: TokenLearner classifiers for TensorFlow 2."""

import pathlib
import re

import setuptools

_ROOT = pathlib.Path(__file__).parent
_VERSION = re.search(
    r"^__version__ = '(.+)'$",
    (_ROOT / 'tf_tokenlearner' / '__init__.py').read_text(encoding='utf-8'),
    re.MULTILINE).group(1)

setuptools.setup(
    name='tf_tokenlearner',
    version=_VERSION,
    description='Image and video classifiers that think with a handful of learned tokens.',
    long_description=(_ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=setuptools.find_packages(include=['tf_tokenlearner*']),
    # As far as the suite was run: see the README.
    python_requires='>=3.11,<3.12',
    install_requires=[
        # The layers and backbones need these two alone.
        'tensorflow>=2.20,<2.21',
        'tf_keras>=2.20,<2.21',  # The Keras that the Model Garden uses.
        # Trainer, config system, optimizers, augmentation.
        'tf-models-official>=2.20,<2.21',
        'tensorflow-datasets>=4.9.9,<4.10',  # Every input.
        'importlib_resources>=6,<8',  # TFDS needs it and does not say so.
        'tensorflow-hub>=0.16.1,<0.17',  # Modules in and out.
        'setuptools>=65,<81',  # tensorflow-hub imports its pkg_resources.
        'absl-py>=1.4,<3',  # Flags, logging.
        'numpy>=1.26,<3',  # Arrays of checkpoints and exports.
        'PyYAML>=6,<7',  # Configs.
        'scikit-learn>=1.5,<2',  # The embedded digits.
        'scipy>=1.11,<2',  # Resizes position embeddings.
        # Pictures that TensorFlow misreads; the Garden brings it as well.
        'opencv-python-headless>=4.8,<6',
        # Videos: knows the time of every frame, raises on corrupt files.
        'av>=17.1,<19',
        'msgpack>=1,<2',  # Checkpoints of the official code, without Flax.
        'requests>=2.28,<3',  # Asks a host before TFDS waits for it.
    ],
    extras_require={
        # Optimizers; past its end of life, no wheels beyond Python 3.11.
        'addons': ['tensorflow-addons>=0.23,<0.24; python_version < "3.12"'],
        # Checkpoints of the official code in Orbax's layout.
        'orbax': ['tensorstore>=0.1.60,<0.2'],
        # Runs what was converted to TFLite; TensorFlow's own is being removed.
        'tflite': ['ai-edge-litert>=2,<3'],
        'gpu': ['tensorflow[and-cuda]>=2.20,<2.21'],  # TensorFlow with CUDA.
        # The website of the documentation.
        'docs': ['mkdocs-material>=9.5,<10'],
        'dev': [
            'ipykernel>=6.29,<8',  # Runs the notebooks of docs/.
            'nbclient>=0.10,<1',  # The same.
            'pytest>=8,<10',  # The suite.
            'pytest-xdist>=3.5,<4',  # On two cores.
        ],
    },
)
