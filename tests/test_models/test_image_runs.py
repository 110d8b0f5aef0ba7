"""Image algorithms through MMEngine's runner, with the real configs made small.

``tests/test_configs`` also trains these configs; here it is about files, resuming and processes.
"""

import gc
import shutil

import cv2
import numpy as np
import pytest
import torch
from amd_mm.models import MaskedAutoencoder
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from tests.conftest import REPOSITORY
from tests.test_configs.shrink_image import make_images, shrink_image
from tests.test_reliability.test_distributed import draw_from_content, on_two_processes
from tests.tiny_image import dmae, image_amd, mae
from tests.tiny_tinymim import tinymim

AMD = 'amd/image/amd_image_vit-small-p16_vit-large_16xb256-800e_in1k'
FINETUNE = 'amd/image/amd_image_vit-small-p16_vit-large_finetune_8xb128-100e_in1k'
LINEAR = 'amd/image/amd_image_vit-small-p16_vit-large_linear_16xb1024-90e_in1k'
MOCO = 'dmae/pretrain/dmae_mocov3_vit-small-p16_vit-base_16xb256-300e_in1k'
TINYMIM = 'tinymim/pretrain/tinymim_vit-small-p16_vit-base_16xb256-300e_in1k'
TINYMIM_FINETUNE = 'tinymim/finetune/tinymim_vit-small-p16_vit-base_finetune_8xb128-100e_in1k'


@pytest.fixture(scope='module', autouse=True)
def quick():
    """Without asking for compilers, and without collecting the garbage of other tests."""
    gc.freeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.runner.runner.collect_env', dict)
        yield
    gc.unfreeze()


def load(name, folder, epochs=1):
    """A real config with small widths, 2 blocks and 3 steps an epoch."""
    cfg = Config.fromfile(REPOSITORY / 'configs' / f'{name}.py')
    shrink_image(cfg, folder)
    teacher = cfg.model.get('teacher')
    for part in filter(None, (cfg.model, teacher)):
        part.backbone.arch.num_layers = 2
        part.backbone.pop('layer_cfgs', None)
    if 'block' in (teacher or {}):
        cfg.train_dataloader.batch_size = 2
        teacher.block = 2
        cfg.model.backbone.drop_path_rate = 0.1
    elif teacher:
        cfg.model.layer_pairs = [(1, 1), (2, 2)]
    if 'frozen_stages' in cfg.model.backbone:
        cfg.model.backbone.frozen_stages = 2
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


def logged(runner, name):
    values = runner.message_hub.log_scalars[f'train/{name}'].data[0]
    assert np.isfinite(values).all()
    return values


def fine_tuned(name, checkpoint):
    """The classifier of a fine-tuning config, before its first step."""
    cfg = load(name, checkpoint.parent.parent)
    cfg.model.backbone.pretrained = str(checkpoint)
    classifier = MODELS.build(cfg.model)
    classifier.init_weights()
    return classifier


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """An epoch of AMD: JPEG and PNG, grey and coloured, nested; two that cannot be read."""
    folder = tmp_path_factory.mktemp('folder')
    rng = np.random.default_rng(0)
    root = folder / 'data/imagenet/train'
    (root / 'more deep').mkdir(parents=True)
    for number in range(6):
        shape = (60 + number, 90, 3) if number % 3 else (60, 90)
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        name = f'{"more deep/" if number > 3 else ""}{number}.{"png" if number % 2 else "JPG"}'
        assert cv2.imwrite(str(root / name), image)
    (root / 'broken.jpg').write_bytes(b'\xff\xd8\xff no image after all')
    (root / 'empty.png').touch()
    (root / 'notes.txt').write_text('no image')
    return folder, train(load(AMD, folder))


def test_amd_pre_trains_on_a_folder_with_corrupt_files(pretrained):
    folder, runner = pretrained
    for name in ('loss_rec', 'loss_direct', 'loss_generation'):
        assert len(logged(runner, name)) == 4
    log = '\n'.join(path.read_text() for path in folder.rglob('*.log'))
    for name in ('broken.jpg', 'empty.png'):
        assert f'unreadable file replaced: {folder}/data/imagenet/train/{name}' in log
    assert 'notes.txt' not in log
    state = weights(folder / 'work/epoch_1.pth')
    assert {name.split('.')[0] for name in state} == {'backbone', 'decoder', 'neck'}


@pytest.mark.parametrize('name', [FINETUNE, LINEAR], ids=['tune', 'probe'])
def test_the_student_becomes_a_classifier(pretrained, name):
    folder, _ = pretrained
    student = weights(folder / 'work/epoch_1.pth')
    classifier = fine_tuned(name, folder / 'work/epoch_1.pth')
    state = classifier.state_dict()
    assert all(torch.equal(state[key], student[key]) for key in student if 'backbone.layers' in key)
    trained = {
        parameter.requires_grad
        for key, parameter in classifier.named_parameters()
        if 'backbone.layers' in key
    }
    assert trained == {name == FINETUNE}


def test_the_checkpoint_loads_into_mmpretrain_s_vit(pretrained):
    """With MMEngine's own loader, without a conversion."""
    folder, runner = pretrained
    checkpoint = str(folder / 'work/epoch_1.pth')
    stock = MODELS.build(
        dict(
            type='mmpretrain.VisionTransformer',
            arch=runner.cfg.model.backbone.arch,
            img_size=128,
            out_type='raw',
            init_cfg=dict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.'),
        )
    )
    stock.init_weights()
    images = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        tokens = runner.model.eval().extract_feat(images)
        stock.eval()
        torch.testing.assert_close(stock(images)[0], tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', [MOCO, TINYMIM], ids=['moco', 'tinymim'])
def test_resumed_equals_uninterrupted(name, tmp_path):
    """With the draws of both views, drop path, the momentum encoder and the optimiser's state."""
    make_images(tmp_path)
    runner = train(load(name, tmp_path, epochs=2))
    expected = weights(tmp_path / 'work/epoch_2.pth')
    parts = {key.split('.')[0] for key in expected}
    if name == MOCO:
        assert parts == {'backbone', 'neck', 'head', 'momentum_encoder', 'alignment'}
        assert len(logged(runner, 'loss_direct'))
    else:
        assert parts == {'backbone'}
        assert len(logged(runner, 'loss_qk')) == len(logged(runner, 'loss_vv')) == 6
        classifier = fine_tuned(TINYMIM_FINETUNE, tmp_path / 'work/epoch_2.pth')
        for key, value in classifier.backbone.state_dict().items():
            assert key.startswith('ln2.') or torch.equal(value, expected[f'backbone.{key}']), key
        # The usual number of heads, whatever the relations were read with.
        assert [layer.attn.num_heads for layer in classifier.backbone.layers] == [6, 6]
    # As if the run had been interrupted after its first epoch.
    (tmp_path / 'two').mkdir()
    shutil.copy(tmp_path / 'work/epoch_1.pth', tmp_path / 'two')
    (tmp_path / 'two/last_checkpoint').write_text(str(tmp_path / 'two/epoch_1.pth'))
    resumed = load(name, tmp_path, epochs=2)
    resumed.work_dir, resumed.resume = str(tmp_path / 'two'), True
    torch.manual_seed(77)
    assert train(resumed).epoch == 2
    found = weights(tmp_path / 'two/epoch_2.pth')
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


ALGORITHMS = {
    'mae': mae(),
    'dmae': dmae(),
    'amd': image_amd(),
    'relations': tinymim(),
    'features': tinymim(head=dict(type='amd_mm.FeatureTargetHead')),
    'another block': tinymim(block=7),
}


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


def make_batch(part=slice(None)):
    """One view for the masked autoencoders, two for TinyMIM."""
    generator = torch.Generator().manual_seed(3)
    views = torch.randint(0, 256, (2, 4, 3, 64, 64), generator=generator).float()[:, part]
    return {
        name: list(views) if 'last_heads' in cfg else views[0] for name, cfg in ALGORITHMS.items()
    }


def half_batch_gradients(rank):
    MaskedAutoencoder.draw_partition = draw_from_content
    batch = make_batch(slice(2 * rank, 2 * rank + 2))
    results = {}
    for name, cfg in ALGORITHMS.items():
        model = MMDistributedDataParallel(make(cfg), broadcast_buffers=False)
        assert not model.find_unused_parameters
        for _ in range(2):  # an unused parameter shows in the second step
            results[name] = gradients(model, batch[name])
    return results


def test_two_processes_compute_what_one_does(monkeypatch):
    monkeypatch.setattr(MaskedAutoencoder, 'draw_partition', draw_from_content)
    found, batch = on_two_processes(half_batch_gradients), make_batch()
    for name, cfg in ALGORITHMS.items():
        expected = gradients(make(cfg), batch[name])
        tolerance = dict(rtol=1e-3, atol=1e-5)
        if cfg['type'] == 'amd_mm.TinyMIM':
            tolerance = dict(rtol=1e-4, atol=1e-6)
        for rank in range(2):
            assert found[rank][name].keys() == expected.keys()
            for key, value in expected.items():
                np.testing.assert_allclose(
                    found[rank][name][key], value, **tolerance, err_msg=f'{name}: {key}'
                )
