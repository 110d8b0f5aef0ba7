"""README.md: its commands, options, links and code are of this package."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from amd_mm.engine.launch import read_config
from amd_mm.engine.options import check_options
from amd_mm.registry import MODELS
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()
# What a row of a table that gives an option alone is about.
TRAINING = 'configs/amd/pretrain/amd_vit-small-p16_vit-large_32xb64-16x4x1-800e_k400.py'
RECOGNITION = 'configs/amd/recognition/amd_vit-small-p16_16xb32-sparse16-40e_sthv2.py'


def commands() -> Iterator[list[str]]:
    """All commands, split into arguments, and options that stand alone."""
    blocks = re.findall(r'```bash\n(.*?)```', README, re.DOTALL)
    lines = ''.join(blocks).replace('\\\n', ' ').splitlines()
    prose = re.sub(r'```.*?```', '', README, flags=re.DOTALL)
    for line in lines + re.findall(r'`([^`]+)`', prose):
        if 'tools/' in line or '--' in line:
            yield shlex.split(line, comments=True)


def options_of(command: list[str]) -> list[str]:
    """The key=value arguments after --cfg-options."""
    if '--cfg-options' not in command:
        return []
    after = command[command.index('--cfg-options') + 1 :]
    return [word for word in after if '=' in word]


OVERRIDES = [one for one in commands() if options_of(one)]


def test_there_are_commands() -> None:
    tools = {Path(word).name for one in commands() for word in one}
    assert {'quickstart.sh', 'run_tests.sh', 'dist_train.sh'} <= tools
    assert len(OVERRIDES) > 8


def test_files_named_are_there() -> None:
    named = set(re.findall(r'(?:tools|configs|docs|tests)/[\w/.-]*\w', README))
    named |= set(re.findall(r'\]\(((?!http|#)[^)#]+)', README))
    missing = {path for path in named if not (ROOT / path).exists()}
    assert named and not missing


def test_options_named_are_known() -> None:
    """Commands of tools take the options that the page gives them."""
    shared = (ROOT / 'amd_mm/engine/launch.py').read_text()
    checked = 0
    for command in commands():
        scripts = [word for word in command if re.match(r'tools/.*\w\.', word)]
        if not scripts:
            continue
        # The launch scripts hand on to the program that their name says.
        name = re.sub(r'(dist|slurm)_(\w+)\.sh', r'\2.py', scripts[0])
        name = name.replace('quickstart.sh', 'quickstart/quickstart.py')
        known = (ROOT / name).read_text() + shared
        for option in (word for word in command if word.startswith('--')):
            assert option == '--help' or option in known, (name, option)
            checked += 1
    assert checked > 10


@pytest.mark.parametrize('command', OVERRIDES, ids=' '.join)
def test_overrides_meet_something(command: list[str]) -> None:
    given = [word for word in command if word.startswith('configs/')]
    options = {}
    for pair in options_of(command):
        key, value = pair.split('=', 1)
        options[key] = DictAction._parse_iterable(value)
    if given:
        path = given[0]
    else:
        recognises = {'label_fraction', 'clips_per_class', 'test_cfg'}
        words = {part for key in options for part in key.split('.')}
        path = RECOGNITION if words & recognises else TRAINING
    cfg = read_config(str(ROOT / path))
    check_options(cfg, options)
    cfg.merge_from_dict(options)
    for key, value in options.items():
        node = cfg
        for part in key.split('.'):
            node = node[int(part) if part.isdigit() else part]
        assert node == value


def python_blocks() -> list[str]:
    return re.findall(r'```python\n(.*?)```', README, re.DOTALL)


@pytest.mark.parametrize('backbone', ['VisionTransformer', 'amd_mm.VideoVisionTransformer'])
def test_the_model_of_using_the_result_builds(backbone: str) -> None:
    scope: dict = {}
    exec(python_blocks()[0], scope)
    model = scope['model']
    assert model['backbone'].pop('init_cfg')['prefix'] == 'backbone.'
    model['backbone']['type'] = backbone
    assert backbone in python_blocks()[0]
    with DefaultScope.overwrite_default_scope('mmaction'):
        built = MODELS.build(model)
    assert built.backbone.embed_dims == built.cls_head.in_channels


def test_the_derived_config_says_what_it_seems_to(tmp_path: Path) -> None:
    path = tmp_path / 'mine.py'
    path.write_text(python_blocks()[1])
    model = Config.fromfile(str(path)).model
    assert model.layer_pairs == [(4, 8), (8, 16), (12, 24)]
    assert model.neck.loss.distance == 'smooth_l1'
    assert model.neck.type == 'amd_mm.SerialAlignment'
    assert model.mask_generator.teacher_ratio == 0.45


def test_the_quickstarts_figures_are_told_alike() -> None:
    """The table stands in README.md and on the quickstart's page."""
    page = (ROOT / 'configs/quickstart/README.md').read_text()
    tables = [
        re.findall(r'^\| (?:student|teacher), .*$', text, re.MULTILINE) for text in (README, page)
    ]
    assert len(tables[0]) == 4 and tables[0] == tables[1][:4]
    (gains,) = re.findall(r'AMD over VideoMAE alone.*?by\s+seed:[^;.]*', README)
    assert gains.replace('\n', ' ') in page.replace('\n', ' ')


def test_the_citation_is_that_of_the_algorithms_page() -> None:
    entries = [
        re.findall(r'```bibtex\n(.*?)```', text, re.DOTALL)
        for text in (README, (ROOT / 'configs/amd/README.md').read_text())
    ]
    assert entries[0] and entries[0][0].strip() == entries[1][0].strip()
