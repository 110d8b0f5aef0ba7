"""Testing: views, memory, metrics, reports, several processes, mistakes."""

import csv
import shutil
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from amd_mm.apis import load_model
from amd_mm.datasets.inference import read_sample
from amd_mm.evaluation import classification_report
from amd_mm.evaluation.predictions import read_predictions
from amd_mm.inference import Model
from amd_mm.models import VideoVisionTransformer
from amd_mm.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS, DefaultScope

from tests import tiny
from tests.test_reliability.test_distributed import on_two_processes

from .tool_scripts import load_tool

LABELS = (3, 1, 4, 4, 0)  # of five videos: two processes get unequal shares
CLASSES = 6
VIEWS = 2 * 3

CONFIG = """
default_scope = 'mmaction'
model = dict(
    type='Recognizer3D',
    data_preprocessor={preprocessor},
    backbone={backbone},
    cls_head=dict(
        type='TimeSformerHead', num_classes={classes}, in_channels=48,
        average_clips='prob'))
test_dataloader = dict(
    batch_size={batch},
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type={dataset!r},
        ann_file={ann_file!r},
        data_prefix=dict(video={folder!r}),
        test_mode=True,
        pipeline=[
            dict(type='OpenCVInit'),
            dict(type='SampleFrames', clip_len=8, frame_interval=1,
                 num_clips=2, test_mode=True),
            dict(type='OpenCVDecode'),
            dict(type='Resize', scale=(-1, 64)),
            dict(type='ThreeCrop', crop_size=64),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs')
        ]))
test_cfg = dict(type='TestLoop')
test_evaluator = dict(type='AccMetric')
default_hooks = dict(logger=dict(type='LoggerHook', interval=20))
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory, make_video):
    """Five labelled videos and class names."""
    folder = tmp_path_factory.mktemp('testing')
    for index in range(len(LABELS)):
        make_video(folder / f'v{index}.mp4', frames=20, seed=index)
    write_list(folder / 'list.txt', LABELS)
    (folder / 'names.txt').write_text('a\nb\nc\nd\ne\nf\n')
    return folder


def write_list(path, labels):
    path.write_text(''.join(f'v{index}.mp4 {label}\n' for index, label in enumerate(labels)))


def write_config(path, folder, **changes):
    """A stock config that names nothing of amd_mm but the backbone."""
    values = dict(
        preprocessor=tiny.preprocessor(),
        backbone=dict(tiny.backbone(depth=2), use_mean_pooling=True),
        classes=CLASSES,
        batch=1,
        dataset='VideoDataset',
        ann_file=str(folder / 'list.txt'),
        folder=str(folder),
    )
    values.update(changes)
    path.write_text(CONFIG.format(**values))
    return str(path)


def save(model, path):
    torch.save(dict(meta=dict(), state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture(scope='module')
def case(folder):
    """Config and checkpoint; the model tells the videos apart."""
    config = write_config(folder / 'tiny.py', folder)
    cfg = Config.fromfile(config)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(cfg.model)
        data = DATASETS.build(cfg.test_dataloader.dataset)
        model.init_weights()
    model.eval()
    with torch.no_grad():
        features = []
        for sample in data:
            batch = model.data_preprocessor(pseudo_collate([sample]))
            features.append(model.extract_feat(batch['inputs'], test_mode=True)[0])
        features = torch.stack(features)  # (videos, views, C)
        center, spread = features.mean((0, 1)), features.std()
        # Each class answers to some mixture of what the videos have of
        # their own: other scores for every video and view.
        weight = torch.randn(CLASSES, len(data)) @ (features.mean(1) - center)
        weight /= len(center) * spread**2
        head = model.cls_head.fc_cls
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ center)
    return config, save(model, folder / 'model.pth')


@pytest.fixture
def tool(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return load_tool('test')


def refused(tool, *arguments):
    """The sentence that it ends with."""
    with pytest.raises(SystemExit) as ended:
        tool.main([str(one) for one in arguments])
    message = str(ended.value.code)
    assert message.startswith('test.py: ')
    assert 'Traceback' not in message
    return message


def by_hand(case, view_batch):
    """Scores (videos, classes): softmax of every view, then the mean."""
    cfg = Config.fromfile(case[0])
    with DefaultScope.overwrite_default_scope('mmaction'):
        model = MODELS.build(cfg.model)
        data = DATASETS.build(cfg.test_dataloader.dataset)
    model.load_state_dict(torch.load(case[1])['state_dict'])
    model.eval()
    scores = []
    with torch.no_grad():
        for sample in data:
            clips = model.data_preprocessor(pseudo_collate([sample]))['inputs']
            assert clips.shape[1] == VIEWS
            logits = torch.cat(
                [model.cls_head(model.backbone(part)) for part in clips[0].split(view_batch)]
            )
            scores.append(logits.softmax(1).mean(0))
    return torch.stack(scores)


def scores_of(path):
    return torch.stack([one['pred_score'] for one in mmengine.load(path)])


def test_views_metrics_report_and_progress(tool, case, folder):
    config, checkpoint = case
    given = f'--work-dir w --dump out/p.pkl --report out/report --labels {folder}/names.txt'
    found = tool.main([config, checkpoint, *given.split()])
    expected = by_hand(case, VIEWS)
    torch.testing.assert_close(scores_of('out/p.pkl'), expected)
    best = expected.argmax(1).numpy()
    assert 0 < (best == np.array(LABELS)).mean() < 1  # else it means little
    labels = np.array(LABELS)
    ranks = (expected > expected[range(5), LABELS][:, None]).sum(1)
    assert found['acc/top1'] == (best == labels).mean()
    assert found['acc/top5'] == (ranks < 5).double().mean().item()
    # Of all classes that are there or were predicted, as MMAction2 has it.
    classes = set(best) | set(LABELS)
    hits = [(best == labels)[labels == one].mean() if one in LABELS else 0.0 for one in classes]
    assert found['acc/mean1'] == pytest.approx(np.mean(hits))

    with open('out/report/confusion_matrix.csv') as file:
        head, *rows = list(csv.reader(file))
    assert head[1:] == list('abcdef')
    matrix = np.array([row[1:] for row in rows], dtype=int)
    pairs = np.zeros_like(matrix)
    np.add.at(pairs, (labels, best), 1)
    np.testing.assert_array_equal(matrix, pairs)
    assert sorted(path.name for path in Path('out/report').iterdir()) == [
        'confusion_matrix.csv',
        'confusion_matrix.png',
        'per_class.csv',
        'per_class.png',
    ]

    log = next(Path('w').rglob('*.log')).read_text()
    for done in range(1, 6):  # the config asks for a line every 20
        assert f'Epoch(test) [{done}/5]' in log
    assert log.count('eta: ') == 5


def test_few_views_at_a_time_give_the_same_scores(tool, case, monkeypatch):
    sizes, original = [], VideoVisionTransformer.forward

    def forward(self, clips):
        sizes.append(len(clips))
        return original(self, clips)

    expected = by_hand(case, VIEWS)
    monkeypatch.setattr(VideoVisionTransformer, 'forward', forward)
    few = [*case, '--dump', 'few.pkl', '--cfg-options', 'model.test_cfg.max_testing_views=4']
    tool.main(few)
    assert sizes == [4, 2] * 5
    torch.testing.assert_close(scores_of('few.pkl'), expected, rtol=1e-5, atol=1e-6)
    message = refused(tool, *few, 'test_dataloader.batch_size=2')
    assert 'test_dataloader.batch_size=1' in message


def test_two_processes_count_every_video_once(tool, case, tmp_path):
    alone = tool.main([*case, '--dump', 'one.pkl', '--report', 'one'])

    def work(rank):
        written = []
        original = classification_report.write_csv
        classification_report.write_csv = lambda *values: (written.append(rank), original(*values))
        found = load_tool('test').main(
            [*case, '--launcher', 'pytorch', '--dump', 'two.pkl', '--report', 'two']
        )
        return found, written

    results = on_two_processes(work)
    assert results[0][0] == results[1][0] == alone
    assert (results[0][1], results[1][1]) == ([0, 0], [])
    one, two = (read_predictions(f'{name}.pkl') for name in ('one', 'two'))
    assert two.labels.tolist() == list(LABELS)
    assert two.predicted.tolist() == one.predicted.tolist()
    torch.testing.assert_close(scores_of('two.pkl'), scores_of('one.pkl'), rtol=0, atol=0)
    for name in ('per_class.csv', 'confusion_matrix.csv', 'per_class.png', 'confusion_matrix.png'):
        assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()


def test_a_checkpoint_of_other_classes(tool, case, folder, tmp_path):
    config = write_config(tmp_path / 'other.py', folder, classes=9)
    message = refused(tool, config, case[1])
    assert 'model.pth' in message and f'distinguishes {CLASSES} classes, the model 9' in message


def test_labels_that_the_model_does_not_know(tool, case, folder, tmp_path):
    write_list(tmp_path / 'wrong.txt', (0, 1, CLASSES, 1, 0))
    config = write_config(tmp_path / 'x.py', folder, ann_file=str(tmp_path / 'wrong.txt'))
    message = refused(tool, config, case[1])
    assert f'v2.mp4 of {tmp_path}/wrong.txt has the label 6, but model.cls_head.num_classes=6' in (
        message
    )
    (tmp_path / 'none.txt').write_text('v0.mp4\nv1.mp4\n')  # its accuracy would be 0 %
    options = dict(ann_file=str(tmp_path / 'none.txt'), dataset='amd_mm.VideoListDataset')
    config = write_config(tmp_path / 'x.py', folder, **options)
    assert f'v0.mp4 of {tmp_path}/none.txt has no label' in refused(tool, config, case[1])


def test_several_labels_per_video(tool, case, folder, tmp_path):
    """The report's precisions are those of MMAction2; the demo shows sigmoids."""
    labels = [(3, 1), (1,), (4, 0, 2), (4,), (0, 3)]
    write_list(tmp_path / 'several.txt', [' '.join(map(str, one)) for one in labels])
    config = Path(write_config(tmp_path / 'several.py', folder, dataset='amd_mm.VideoListDataset'))
    bce = "type='TimeSformerHead', loss_cls=dict(type='BCELossWithLogits')"
    several = f'ann_file={str(tmp_path / "several.txt")!r}, multi_class=True, num_classes=6'
    metric = "type='AccMetric', metric_list=('mean_average_precision',)"
    config.write_text(
        config.read_text()
        .replace("type='TimeSformerHead'", bce)
        .replace(f'ann_file={str(folder / "list.txt")!r}', several)
        .replace("type='AccMetric'", metric)
    )
    assert 'average_clips=score' in refused(tool, config, case[1])
    config.write_text(config.read_text().replace("clips='prob'", "clips='score'"))
    names = str(folder / 'names.txt')
    found = tool.main([str(config), case[1], '--report', 'out', '--labels', names])
    with open('out/per_class.csv') as file:
        _, *rows = csv.reader(file)
    assert [row[1:3] for row in rows] == [*map(list, zip('abcdef', '221220'))]
    mean = np.mean([float(row[3]) for row in rows if row[3]])
    assert mean == pytest.approx(100 * found['acc/mean_average_precision'], abs=0.01)

    model = load_model((str(config), case[1]))
    views = read_sample(model.cfg.test_pipeline, str(folder / 'v0.mp4'))['inputs']
    with torch.no_grad():
        clips = model.data_preprocessor(dict(inputs=[views], data_samples=[]))['inputs'][0]
        expected = model.cls_head(model.backbone(clips)).mean(0).sigmoid()
    shown = dict(Model(model).predict(str(folder / 'v0.mp4'), top_k=6))
    torch.testing.assert_close(torch.tensor([shown[f'class {at}'] for at in range(6)]), expected)


def test_a_video_that_cannot_be_read(tool, case, folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / 'broken')
    (broken / 'v3.mp4').write_bytes(b'nothing')
    config = Path(write_config(tmp_path / 'x.py', broken, dataset='amd_mm.VideoListDataset'))
    config.write_text(
        config.read_text()
        .replace("'OpenCVInit'", "'amd_mm.VideoInit'")
        .replace('OpenCVDecode', 'amd_mm.VideoDecode')
    )
    message = refused(tool, config, case[1], '--cfg-options', 'test_dataloader.num_workers=1')
    assert message.startswith(f'test.py: cannot read {broken}/v3.mp4')


def test_wrong_arguments_end_before_the_test(tool, case, tmp_path, capsys):
    assert '.pkl' in refused(tool, *case, '--dump', 'x.txt')
    names = tmp_path / 'two.txt'
    names.write_text('a\nb\n')
    assert 'two.txt has 2 names, but the model has 6' in refused(
        tool, *case, '--report', 'r', '--labels', names
    )
    assert 'none.txt' in refused(tool, *case, '--report', 'r', '--labels', 'none.txt')
    assert not Path('r').exists()
    Path('file').touch()
    assert '--report' in refused(tool, *case, '--report', 'file')
    assert 'average_clips=prob' in refused(
        tool, *case, '--cfg-options', 'model.cls_head.average_clips=None'
    )
    with pytest.raises(SystemExit):
        tool.main([*case, '--labels', str(names)])
    assert '--labels is for --report' in capsys.readouterr().err


class Fails(BaseMetric):
    default_prefix = 'fails'

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        raise ArithmeticError('a metric failed')


def test_predictions_outlive_a_metric_that_fails(tool, case, tmp_path, monkeypatch):
    monkeypatch.setitem(METRICS.module_dict, 'Fails', Fails)
    config = tmp_path / 'fails.py'
    config.write_text(f"_base_ = {case[0]!r}\ntest_evaluator = dict(type='mmengine.Fails')\n")
    with pytest.raises(ArithmeticError):
        tool.main([str(config), case[1], '--dump', 'kept.pkl'])
    assert read_predictions('kept.pkl').labels.tolist() == list(LABELS)


@pytest.mark.parametrize(
    'evaluator',
    [
        dict(type='AccMetric'),
        [dict(type='AccMetric')],
        dict(metrics=dict(type='AccMetric')),
        dict(type='Evaluator', metrics=[dict(type='AccMetric')]),
    ],
)
def test_every_form_of_evaluator(tool, evaluator):
    cfg = Config(dict(test_evaluator=evaluator))
    tool.add_metric(cfg, dict(type='Last'))
    tool.add_metric(cfg, dict(type='First'), first=True)
    metrics = cfg.test_evaluator
    metrics = metrics['metrics'] if isinstance(metrics, dict) else metrics
    assert [one['type'] for one in metrics] == ['First', 'AccMetric', 'Last']


def test_the_strict_hook_is_there_once(tool):
    cfg = Config(dict(custom_hooks=[dict(type='X')]))
    tool.load_strictly(cfg)
    tool.load_strictly(cfg)
    assert cfg.custom_hooks == [dict(type='X'), dict(type='amd_mm.StrictLoadHook')]
