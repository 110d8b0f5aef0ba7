"""TinyMIM through MMEngine's runner: images in, checkpoints out."""

import numpy as np
import torch
from amd_mm.registry import MODELS
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from tests.test_reliability.test_distributed import on_two_processes
from tests.tiny_tinymim import tinymim

from .shrunk import finetuning, pretraining


def train(cfg: Config) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def weights(path):
    return torch.load(path, weights_only=False)['state_dict']


def test_pretraining_then_fine_tuning_and_testing(tmp_path):
    cfg = pretraining(tmp_path)
    bad = tmp_path / 'data/imagenet/train/n00000001/1.jpg'
    bad.write_bytes(b'no image')
    runner = train(cfg)
    student = weights(tmp_path / 'work/epoch_1.pth')
    assert not any('teacher' in name for name in student)
    losses = runner.message_hub.log_scalars
    for name in ('train/loss_qk', 'train/loss_vv'):
        assert np.isfinite(losses[name].data[0]).all()
        assert len(losses[name].data[0]) == 3
    bad.unlink()

    cfg = finetuning(tmp_path)
    cfg.model.backbone.pretrained = str(tmp_path / 'work/epoch_1.pth')
    cfg.work_dir = str(tmp_path / 'finetuned')
    cfg.model.backbone.drop_path_rate = 0.0
    classifier = MODELS.build(cfg.model)
    classifier.init_weights()
    backbone = classifier.backbone
    for name, value in backbone.state_dict().items():
        if not name.startswith('ln2.'):
            assert torch.equal(value, student['backbone.' + name]), name
    heads = [layer.attn.num_heads for layer in backbone.layers]
    assert heads == [6, 6, 6, 6]

    runner = train(cfg)
    metrics = runner.test()
    assert set(metrics) == {'accuracy/top1', 'accuracy/top5'}
    tuned = weights(tmp_path / 'finetuned/epoch_1.pth')
    key = 'backbone.layers.3.attn.qkv.weight'
    assert not torch.equal(tuned[key], student[key])
    assert list((tmp_path / 'finetuned').glob('best_accuracy_top1*.pth'))


def test_resumed_equals_uninterrupted(tmp_path):
    """With both views' draws, drop path and the optimiser's state."""
    whole = pretraining(tmp_path, epochs=3)
    train(whole)
    expected = weights(tmp_path / 'work/epoch_3.pth')

    broken = pretraining(tmp_path, epochs=3)
    broken.work_dir = str(tmp_path / 'broken')
    broken.train_cfg.max_epochs = 1
    train(broken)
    resumed = pretraining(tmp_path, epochs=3)
    resumed.work_dir, resumed.resume = broken.work_dir, True
    torch.manual_seed(77)
    runner = train(resumed)
    assert runner.epoch == 3
    found = weights(tmp_path / 'broken/epoch_3.pth')
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def two_views():
    generator = torch.Generator().manual_seed(3)
    shape = 2, 4, 3, 64, 64
    return torch.randint(0, 256, shape, generator=generator).float()


def gradients(model, views):
    inner = getattr(model, 'module', model)
    data = inner.data_preprocessor(dict(inputs=list(views), data_samples=[]))
    loss, _ = inner.parse_losses(model(**data, mode='loss'))
    model.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.numpy()
        for name, parameter in inner.named_parameters()
        if parameter.requires_grad
    }


OPTIONS = {
    'relations': dict(),
    'features': dict(head=dict(type='amd_mm.FeatureTargetHead')),
    'another block': dict(block=7),
}


def make(options):
    torch.manual_seed(0)
    model = MODELS.build(tinymim(**options))
    model.init_weights()
    return model.train()


def half_batch_gradients(rank):
    half = two_views()[:, 2 * rank : 2 * rank + 2]
    results = {}
    for name, options in OPTIONS.items():
        model = MMDistributedDataParallel(make(options), broadcast_buffers=False)
        assert not model.find_unused_parameters
        for _ in range(2):  # an unused parameter shows in the second step
            results[name] = gradients(model, half)
    return results


def test_two_processes_without_find_unused_parameters():
    found = on_two_processes(half_batch_gradients)
    for name, options in OPTIONS.items():
        expected = gradients(make(options), two_views())
        for rank in range(2):
            assert set(found[rank][name]) == set(expected)
            for key, value in expected.items():
                np.testing.assert_allclose(
                    found[rank][name][key], value, rtol=1e-4, atol=1e-6, err_msg=f'{name}, {key}'
                )
