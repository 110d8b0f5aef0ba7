"""Images in folders and lists: corrupt files, labels, repeatable draws."""

import shutil

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from amd_mm.datasets import SampleKey, UnreadableVideoError
from amd_mm.errors import VideoError
from amd_mm.registry import DATASETS, TRANSFORMS
from mmengine.dataset import default_collate
from mmpretrain.datasets import CustomDataset

PIPELINE = [
    dict(type='amd_mm.LoadImage'),
    dict(type='mmpretrain.RandomResizedCrop', scale=32),
    dict(type='mmpretrain.PackInputs'),
]


def write_images(folder):
    rng = np.random.default_rng(0)
    for name in ('ant', 'bee', 'cat'):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f'{number}.png'), pixels)
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('images'))


def build(folder, **other):
    return DATASETS.build(
        dict(dict(type='amd_mm.ImageDataset', data_root=str(folder), pipeline=PIPELINE), **other)
    )


def test_class_folders_and_bare_folder(folder):
    labelled = build(folder)
    assert labelled.get_gt_labels().tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert labelled.CLASSES == ('ant', 'bee', 'cat')
    bare = build(folder, with_label=False)
    assert len(bare) == 18
    sample = bare[3]
    assert sample['inputs'].shape == (3, 32, 32)
    assert sample['data_samples'].filename.endswith('ant/3.png')


def test_folders_that_are_not_classes(folder, tmp_path):
    """Hidden folders, links that lead back, and a class without images keep the labels."""
    copied = write_images(tmp_path / 'copied')
    (copied / '.ipynb_checkpoints').mkdir()
    cv2.imwrite(str(copied / '.ipynb_checkpoints' / 'x.png'), np.zeros((8, 8, 3), np.uint8))
    (copied / 'bee' / 'up').symlink_to(copied)
    (copied / 'bee' / 'round').symlink_to('round')
    (copied / 'again').symlink_to(copied)
    (copied / 'circle').symlink_to('circle')
    dataset = build(copied)
    assert dataset.CLASSES == ('ant', 'bee', 'cat')
    assert dataset.get_gt_labels().tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert len(build(copied, with_label=False)) == 18
    shutil.rmtree(copied / 'ant')
    (copied / 'bee' / 'up').unlink()
    assert (
        build(copied, classes=['ant', 'bee', 'cat']).get_gt_labels().tolist() == [1] * 6 + [2] * 6
    )
    with pytest.raises(VideoError, match="'bee', 'cat'.*not among the 1 classes"):
        build(copied, classes=['ant'])
    with pytest.raises(VideoError, match='has no images in sub-folders'):
        build(copied / 'bee')


def test_the_samples_are_those_of_mmpretrain(folder, tmp_path):
    theirs = CustomDataset(data_root=str(folder), pipeline=[])
    assert [*build(folder, pipeline=[])] == [*theirs]
    listed = tmp_path / 'list.txt'
    listed.write_bytes(b'\xef\xbb\xbfant/0.png 0\r\n\r\nbee/ 1.png 1\r\n')
    dataset = build(folder, ann_file=str(listed), pipeline=[])
    assert [*dataset] == [
        dict(img_path=f'{folder}/ant/0.png', gt_label=0, sample_idx=0),
        dict(img_path=f'{folder}/bee/ 1.png', gt_label=1, sample_idx=1),
    ]
    listed.write_text('ant/0.png\n')
    with pytest.raises(VideoError, match='list.txt has no labels; set with_label=False'):
        build(folder, ann_file=str(listed))
    assert len(build(folder, ann_file=str(listed), with_label=False)) == 1


def test_a_part_of_the_labels(folder, tmp_path):
    few = build(folder, samples_per_class=2)
    assert few.get_gt_labels().tolist() == [0, 0, 1, 1, 2, 2]
    more = build(folder, label_fraction=0.5)
    assert len(more) == 9
    paths = [
        {info['img_path'] for info in map(one.get_data_info, range(len(one)))}
        for one in (few, more)
    ]
    assert paths[0] < paths[1]
    copied = write_images(tmp_path / 'elsewhere')
    elsewhere = build(copied, samples_per_class=2)
    assert {
        elsewhere.get_data_info(index)['img_path'].removeprefix(str(copied)) for index in range(6)
    } == {path.removeprefix(str(folder)) for path in paths[0]}
    with pytest.raises(ValueError, match='with_label=True'):
        build(folder, with_label=False, label_fraction=0.5)
    with pytest.raises(ValueError, match='not both'):
        build(folder, samples_per_class=2, label_fraction=0.5)


SHADES = np.stack(np.mgrid[0:240:6, 0:240:4], -1)  # (40, 60, 2), smooth
RGB = np.dstack([SHADES, SHADES.sum(-1) // 2]).astype(np.uint8)


def as_pillow(mode, **options):
    def write(path):
        image = PIL.Image.fromarray(RGB)
        image = image.quantize(255) if mode == 'P' else image.convert(mode)
        image.save(path, **options)

    return write


def as_opencv(scale, dtype):
    return lambda path: cv2.imwrite(str(path), RGB[..., ::-1].astype(dtype) * scale)


def half_of(path):
    cv2.imwrite(str(path), RGB)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


TURNED = PIL.Image.Exif()
TURNED[0x112] = 6  # to be shown a quarter turn clockwise


@pytest.mark.parametrize(
    'name, write, expected',
    [
        ('cmyk.jpg', as_pillow('CMYK', quality=95), RGB),
        ('grey.png', as_pillow('L'), RGB @ [0.299, 0.587, 0.114]),
        ('palette.png', as_pillow('P'), RGB),
        ('transparent_palette.png', as_pillow('P', transparency=7), RGB),
        ('transparent.png', as_pillow('RGBA'), RGB),
        ('turned.jpg', as_pillow('RGB', exif=TURNED, quality=95), np.rot90(RGB, -1)),
        ('sixteen.png', as_opencv(257, np.uint16), RGB),  # as bright as with eight bits
        ('sixteen.tif', as_opencv(257, np.uint16), RGB),
        ('lossless.webp', as_pillow('RGB', lossless=True), RGB),
        ('float.tif', as_opencv(1 / 255, np.float32), 'its pixels are float32'),
        ('moving.gif', as_pillow('P'), 'save it as PNG'),
        ('half.png', half_of, 'it is damaged'),
        ('half.jpg', half_of, 'it is damaged'),
        ('text.jpg', lambda path: path.write_text('text'), 'it is damaged'),
    ],
)
def test_kinds_of_images(tmp_path, name, write, expected):
    """Right colours and sizes, or a refusal that names the file and the reason."""
    write(tmp_path / name)
    load = TRANSFORMS.build(dict(type='amd_mm.LoadImage'))
    if isinstance(expected, str):
        with pytest.raises(UnreadableVideoError, match=f'{name}.*{expected}'):
            load(dict(img_path=str(tmp_path / name)))
        return
    expected = np.broadcast_to(expected.reshape(*expected.shape[:2], -1), (*expected.shape[:2], 3))
    loaded = load(dict(img_path=str(tmp_path / name)))['img'][..., ::-1]
    assert loaded.dtype == np.uint8 and loaded.shape == expected.shape
    assert abs(loaded - expected.astype(float)).mean() < 5


@pytest.mark.parametrize('content', [b'', None])
def test_an_unreadable_image_is_replaced_and_reported(tmp_path, content):
    folder = write_images(tmp_path / 'images')
    bad = folder / 'bee' / '2.png'
    dataset = build(folder)
    len(dataset)  # lists the images
    bad.unlink() if content is None else bad.write_bytes(content)
    sample = dataset[SampleKey(8, epoch=0)]['data_samples']
    ((path, reason),) = sample.unreadable
    assert path == str(bad) and reason
    assert sample.filename != path
    dataset.test_mode = True
    with pytest.raises(UnreadableVideoError, match='2.png'):
        dataset[8]


def test_a_mistake_in_the_pipeline_is_not_the_images_fault(folder):
    dataset = build(folder, pipeline=PIPELINE[:1] + [lambda results: results['no such']])
    with pytest.raises(KeyError, match='no such'):
        dataset[0]


def test_two_views_of_one_crop(folder):
    pipeline = PIPELINE[:2] + [
        dict(
            type='mmpretrain.MultiView',
            num_views=[1, 1],
            transforms=[
                [dict(type='mmpretrain.ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4)],
                [],
            ],
        ),
        PIPELINE[2],
    ]
    dataset = build(folder, with_label=False, pipeline=pipeline)
    plain = build(folder, with_label=False)
    key = SampleKey(4, epoch=1, seed=3)
    student, teacher = dataset[key]['inputs']
    assert torch.equal(teacher, plain[key]['inputs'])
    assert not torch.equal(student, teacher)
    batch = default_collate([dataset[key], dataset[SampleKey(5, 1, 3)]])
    assert [view.shape for view in batch['inputs']] == [(2, 3, 32, 32)] * 2
    assert len(batch['data_samples']) == 2
