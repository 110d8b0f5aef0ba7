"""tools/export.py: a wrong call ends with a sentence and an exit code, and leaves no file."""

import os

import amd_mm
import pytest
import torch

from ..test_deployment.tiny_models import CLIP_PRETRAINING, CLIPS, IMAGES, REPOSITORY, write
from .tool_scripts import load_tool

export = load_tool('export')
CONFIGS = REPOSITORY / 'configs'
DETECTION = next((CONFIGS / 'amd/detection').glob('amd_*.py'))

# (case, arguments, exit code or a part of the sentence)
CASES = [
    ('no config', '{ckpt} x.pt2', 'give the config of .*there is none beside'),
    ('no such config', 'gone.py {ckpt} x.pt2', 'no config file gone.py'),
    ('swapped', '{ckpt} {clips} x.pt2', 'is not a config file'),
    ('no checkpoint', '{clips} gone.pth x.pt2', 'There is no file gone.pth'),
    ('images', '{images} {ckpt} x.pt2', 'holds a video ViT .* ImageClassifier is an image ViT'),
    ('pre-training', '{pre} {ckpt} x.pt2', 'not of a classifier'),
    ('pre-trained', '{clips} {preckpt} x.pt2', 'has no classifier.*--features'),
    ('detection', '{det} {ckpt} x.pt2', 'not of a classifier'),
    (
        'another size',
        '{clips} {ckpt} x.pt2 --cfg-options model.backbone.embed_dims=48 '
        'model.cls_head.in_channels=48',
        'is not of the config.s model.*; the model ViT: 1 blocks, 48 wide',
    ),
    (
        'other classes',
        '{clips} {ckpt} x.pt2 --cfg-options model.cls_head.num_classes=9',
        'The file distinguishes 8 classes, the model 9',
    ),
    (
        'unknown key',
        '{clips} {ckpt} x.pt2 --cfg-options model.backbone.widht=3',
        'cannot be built: .*widht',
    ),
    ('no folder', '{clips} {ckpt} gone/x.pt2', 'there is no folder gone'),
    ('there already', '{clips} {ckpt} page.pt2', 'page.pt2 exists;.*--force'),
    ('suffix', '{clips} {ckpt} x.onnx', 'pt2 files ends in .pt2'),
    ('labels', '{clips} {ckpt} x.pt2 --labels two.txt', '2 names.*8 classes'),
    ('tolerance', '{images} {imgckpt} x.pt2 --tolerance -1', 'was not written'),
    ('folder, not empty', '{clips} {ckpt} pre --format folder', 'pre is not empty'),
    ('folder, labels', '{clips} {ckpt} x --format folder --labels two.txt', 2),
    ('folder, features', '{clips} {ckpt} x --format folder --features', 2),
    ('one file', '{clips}', 2),
    ('labels of features', '{clips} {ckpt} x.pt2 --features --labels a', 2),
    ('weights, config', '{clips} {ckpt} x.pth --format timm', 2),
    ('weights, features', '{ckpt} x.pth --format timm --features', 2),
    ('weights, suffix', '{ckpt} x.onnx --format timm', 'must end in .pth'),
    (
        'weights of the other kind',
        '{ckpt} x.pth --format mmpretrain',
        'a video ViT, for which .mmpretrain. has no names. Use one of: mmaction, timm',
    ),
    ('weights, learned table', '{ckpt} x.pth --format huggingface', 'no name for .*pos_embed'),
    ('weights, none', 'head.pth x.pth --format timm', 'no known format'),
]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder of right and wrong files."""
    folder = tmp_path_factory.mktemp('files')
    config, checkpoint, _ = write(folder, CLIPS)
    checkpoint = os.path.basename(checkpoint)
    (folder / 'pre').mkdir()
    pre, preckpt, _ = write(folder / 'pre', CLIP_PRETRAINING)
    (folder / 'img').mkdir()
    images, imgckpt, _ = write(folder / 'img', IMAGES)
    (folder / 'page.pt2').write_text('precious')
    (folder / 'two.txt').write_text('one\ntwo\n')
    torch.save({'fc.weight': torch.ones(2, 2)}, folder / 'head.pth')
    return folder, dict(
        clips=config,
        ckpt=checkpoint,
        pre=pre,
        preckpt=preckpt,
        images=images,
        imgckpt=imgckpt,
        det=DETECTION,
    )


@pytest.mark.parametrize(
    'call, expected', [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_wrong_call_ends_in_a_sentence(files, monkeypatch, capsys, call, expected):
    folder, names = files
    monkeypatch.chdir(folder)
    before = sorted(os.listdir())
    args = call.format(**names).split()
    if '--format' not in args:
        args += ['--format', 'pt2']
    with pytest.raises(SystemExit) as error:
        export.main(args)
    code = error.value.code
    if isinstance(expected, int):
        assert code == expected
        assert 'error: ' in capsys.readouterr().err
    else:
        # Python prints it and exits with 1.
        assert code.startswith('export.py: ')
        with pytest.raises(SystemExit, match=f'(?s){expected}'):
            raise error.value
    assert sorted(os.listdir()) == before
    assert (folder / 'page.pt2').read_text() == 'precious'


def test_a_model_folder_has_the_model(files, monkeypatch, tmp_path, capsys):
    folder, names = files
    monkeypatch.chdir(folder)
    out = tmp_path / 'mine'
    export.main([names['clips'], names['ckpt'], str(out), '--format', 'folder'])
    assert f'{out} (the model alone, which amd_mm.load' in capsys.readouterr().out
    clip = torch.randint(0, 256, (1, 3, 8, 32, 32)).float()
    made, given = (
        amd_mm.load(one, 'cpu').module.backbone(clip)
        for one in (out, (names['clips'], names['ckpt']))
    )
    assert torch.equal(made, given)
    with pytest.raises(SystemExit, match='is not empty'):
        export.main([names['clips'], names['ckpt'], str(out), '--format', 'folder'])
