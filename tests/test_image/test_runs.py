"""AMD, DMAE and classifiers on images through MMEngine's runner."""

import cv2
import numpy as np
import pytest
import torch
from amd_mm.models import AMD, MaskedAutoencoder
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from tests.test_configs.shrink_image import make_images, shrink_image
from tests.test_reliability.test_distributed import draw_from_content, on_two_processes
from tests.test_tinymim.shrunk import CONFIGS as TINYMIM
from tests.tiny_image import dmae, image_amd, mae

CONFIGS = TINYMIM.parent
FOLDER = 'amd/image/amd_image_vit-small-p16_vit-large_16xb256-800e_in1k'
DMAE = 'dmae/pretrain/dmae_vit-small-p16_vit-base_released_16xb256-100e_in1k'
FINETUNE = 'amd/image/amd_image_vit-small-p16_vit-large_finetune_8xb128-100e_in1k'
MOCO = 'dmae/pretrain/dmae_mocov3_vit-small-p16_vit-base_16xb256-300e_in1k'
LINEAR = 'amd/image/amd_image_vit-small-p16_vit-large_linear_16xb1024-90e_in1k'


def load(name, folder, epochs=1):
    """A real config, small, three steps an epoch.

    Four blocks are enough here, and take a third of the time.
    """
    cfg = shrink_image(Config.fromfile(CONFIGS / f'{name}.py'), folder)
    cfg.model.backbone.arch.num_layers = 4
    if cfg.model.get('teacher'):
        cfg.model.teacher.backbone.arch.num_layers = 4
        cfg.model.layer_pairs = [(2, 2), (4, 4)]
    if 'frozen_stages' in cfg.model.backbone:
        cfg.model.backbone.frozen_stages = 4
    cfg.train_cfg.max_epochs = epochs
    warm_up, cosine = cfg.param_scheduler
    warm_up.end = cosine.begin = 1
    cosine.end = epochs + 1
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 1
    cfg.work_dir = str(folder / 'work')
    return cfg


def train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def write_folder(folder):
    """JPEG and PNG, grey and coloured, nested; two that are none."""
    rng = np.random.default_rng(0)
    root = folder / 'data/imagenet/train'
    (root / 'more deep').mkdir(parents=True)
    for number in range(6):
        shape = (60 + number, 90, 3) if number % 3 else (60, 90)
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        ending = 'png' if number % 2 else 'JPG'
        name = f'{"more deep/" if number > 3 else ""}{number}.{ending}'
        assert cv2.imwrite(str(root / name), image)
    (root / 'broken.jpg').write_bytes(b'\xff\xd8\xff no image after all')
    (root / 'empty.png').touch()
    (root / 'notes.txt').write_text('no image')
    return folder


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """Two epochs of AMD on a folder with corrupt files."""
    folder = write_folder(tmp_path_factory.mktemp('folder'))
    runner = train(load(FOLDER, folder, epochs=2))
    return folder, runner


def test_a_folder_with_corrupt_files_pre_trains(pretrained):
    folder, runner = pretrained
    losses = runner.message_hub.log_scalars
    for name in ('loss_rec', 'loss_direct', 'loss_generation'):
        values = losses[f'train/{name}'].data[0]
        assert len(values) == 8 and np.isfinite(values).all()
    log = '\n'.join(path.read_text() for path in folder.rglob('*.log'))
    for name in ('broken.jpg', 'empty.png'):
        assert f'unreadable file replaced: {folder}/data/imagenet/train/{name}' in log
    assert 'notes.txt' not in log
    assert 'images per step' in log and 'tokens of an image' in log
    assert 'video' not in log.partition('This run:')[2].partition(' - ')[0]
    state = weights(folder / 'work/epoch_2.pth')
    assert {name.split('.')[0] for name in state} == {'backbone', 'decoder', 'neck'}


@pytest.mark.parametrize('name', [FINETUNE, LINEAR], ids=['tune', 'probe'])
def test_the_student_becomes_a_classifier(pretrained, tmp_path, name):
    folder, _ = pretrained
    start = folder / 'work/epoch_2.pth'
    student = weights(start)
    make_images(tmp_path)
    cfg = load(name, tmp_path)
    cfg.model.backbone.pretrained = str(start)
    runner = train(cfg)
    metrics = runner.test()
    assert set(metrics) == {'accuracy/top1', 'accuracy/top5'}
    tuned = weights(tmp_path / 'work/epoch_1.pth')
    kept = [
        torch.equal(tuned[key], value)
        for key, value in student.items()
        if key.startswith('backbone.layers')
    ]
    assert all(kept) if name == LINEAR else not any(kept)
    assert list(tmp_path.glob('work/best_accuracy_top1*.pth'))


def test_the_checkpoint_goes_into_stock_mmpretrain(pretrained):
    """By MMEngine's own loader, without a conversion."""
    folder, runner = pretrained
    arguments = dict(
        type='mmpretrain.VisionTransformer',
        arch=runner.cfg.model.backbone.arch,
        img_size=128,
        out_type='raw',
        init_cfg=dict(
            type='Pretrained', checkpoint=str(folder / 'work/epoch_2.pth'), prefix='backbone.'
        ),
    )
    stock = MODELS.build(arguments)
    stock.init_weights()
    stock.eval()
    model = runner.model.eval()
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(
            stock(images)[0],
            model.backbone.encode(model.backbone.patchify(images)).tokens,
            rtol=1e-4,
            atol=1e-5,
        )


def test_resumed_equals_uninterrupted(tmp_path):
    make_images(tmp_path)
    train(load(DMAE, tmp_path, epochs=2))
    expected = weights(tmp_path / 'work/epoch_2.pth')
    broken = load(DMAE, tmp_path, epochs=2)
    broken.work_dir, broken.train_cfg.max_epochs = str(tmp_path / 'two'), 1
    train(broken)
    resumed = load(DMAE, tmp_path, epochs=2)
    resumed.work_dir, resumed.resume = broken.work_dir, True
    torch.manual_seed(77)
    assert train(resumed).epoch == 2
    found = weights(tmp_path / 'two/epoch_2.pth')
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_moco_v3_with_alignment_runs_and_resumes(tmp_path):
    """Its momentum encoder is in the checkpoint, the teacher is not."""
    make_images(tmp_path)
    cfg = load(MOCO, tmp_path)
    losses = train(cfg).message_hub.log_scalars
    for name in ('loss', 'loss_direct'):
        assert np.isfinite(losses[f'train/{name}'].data[0]).all()
    state = weights(tmp_path / 'work/epoch_1.pth')
    parts = {name.split('.')[0] for name in state}
    assert parts == {'backbone', 'neck', 'head', 'momentum_encoder', 'alignment'}
    cfg = load(MOCO, tmp_path, epochs=2)
    cfg.resume = True
    assert train(cfg).epoch == 2


ALGORITHMS = {'mae': mae(), 'dmae': dmae(), 'amd': image_amd()}


def make(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def gradients(model, images):
    inner = getattr(model, 'module', model)
    data = inner.data_preprocessor(dict(inputs=images, data_samples=[]), True)
    loss, _ = inner.parse_losses(model(**data, mode='loss'))
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.numpy()
        for name, parameter in inner.named_parameters()
        if parameter.requires_grad
    }


def make_batch():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (4, 3, 64, 64), generator=generator).float()


def half_batch_gradients(rank):
    MaskedAutoencoder.draw_partition = draw_from_content
    results = {}
    for name, cfg in ALGORITHMS.items():
        model = MMDistributedDataParallel(make(cfg), broadcast_buffers=False)
        assert not model.find_unused_parameters
        for _ in range(2):  # an unused parameter shows in the second step
            results[name] = gradients(model, make_batch()[2 * rank : 2 * rank + 2])
    return results


def test_two_processes_compute_what_one_does(monkeypatch):
    monkeypatch.setattr(MaskedAutoencoder, 'draw_partition', draw_from_content)
    assert issubclass(AMD, MaskedAutoencoder)
    both = on_two_processes(half_batch_gradients)
    for name, cfg in ALGORITHMS.items():
        expected = gradients(make(cfg), make_batch())
        for found in both.values():
            assert found[name].keys() == expected.keys()
            for key, value in expected.items():
                np.testing.assert_allclose(
                    found[name][key], value, rtol=1e-3, atol=1e-5, err_msg=f'{name}: {key}'
                )
