"""Names and descriptions of the experiments, importable without TensorFlow."""

EXPERIMENTS = {
    'tokenlearner_digits':
        'real 8x8 handwritten digits, embedded; a demo of two minutes',
    'tokenlearner_fashion_mnist':
        '70,000 real 28x28 images of clothes',
    'tokenlearner_cifar10':
        'CIFAR-10 at 32x32, from scratch',
    'tokenlearner_tfds':
        'any TFDS image data set: task.train_data.tfds_name=NAME',
    'tokenlearner_image_folder':
        'a folder of class folders: task.train_data.input_path=FOLDER',
    'tokenlearner_finetune':
        'own pictures, from public weights in task.init_checkpoint; no GPU '
        'needed',
    'tokenlearner_imagenet_pretrain':
        'ImageNet-1k from scratch, 90 epochs, the official recipe',
    'tokenlearner_imagenet_finetune':
        'ImageNet-1k at 384 px from task.init_checkpoint, as ViT',
    'tokenlearner_moving_digits':
        'clips of real digits, the class is the motion, embedded; a demo',
    'tokenlearner_video_folder':
        'a folder of class folders of videos: '
        'task.train_data.input_path=FOLDER',
    'tokenlearner_kinetics400':
        'Kinetics-400 from task.init_checkpoint, as ViViT',
    'tokenlearner_kinetics600':
        'Kinetics-600 from task.init_checkpoint, as ViViT',
    'tokenlearner_charades':
        'Charades, any number of actions a video, mean average precision',
    'tokenlearner_avid':
        'AViD from scratch',
}
