"""tools/install.sh: what it refuses and how it fails; nothing is installed.

How its steps go is in ``test_install_steps``.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import REPOSITORY, run, succeed

SCRIPT = REPOSITORY / 'tools' / 'install.sh'
STATE = REPOSITORY / 'tools' / 'install_state.py'
REQUIREMENTS = REPOSITORY / 'requirements'


def install(tmp_path: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run the script with a cache of its own and no active environment."""
    return run(
        ['bash', SCRIPT, *arguments],
        tmp_path,
        VIRTUAL_ENV='',
        AMD_MM_CACHE=str(tmp_path / 'cache'),
        **environment,
    )


@pytest.mark.parametrize(
    'script',
    [*sorted((REPOSITORY / 'tools').glob('*.sh')), REPOSITORY / '.ci' / 'run'],
    ids=lambda path: path.name,
)
def test_scripts_parse(script: Path) -> None:
    succeed(run(['bash', '-n', script], REPOSITORY))


def test_help(tmp_path: Path) -> None:
    output = succeed(install(tmp_path, '--help'))
    for option in ('--venv', '--python', '--no-detection', '--classic'):
        assert option in output


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--bogus'], 'unknown option --bogus'),
        (['--venv'], '--venv needs a value'),
        (['--venv', 'new', '--python', 'no-such'], 'there is no no-such'),
        (['--venv', 'full'], 'exists and is no virtual environment'),
        (['--venv', 'new', '--python', 'false'], 'needed is 3.11 or 3.12'),
    ],
)
def test_refusals(tmp_path: Path, arguments: list, message: str) -> None:
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'letter.txt').touch()
    result = install(tmp_path, *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / 'new').exists()


def test_active_environment_and_python_contradict(tmp_path: Path) -> None:
    result = run(['bash', SCRIPT, '--python', sys.executable], tmp_path, VIRTUAL_ENV=str(tmp_path))
    assert result.returncode == 1 and 'deactivate' in result.stderr


def test_failed_step_is_named_with_log_and_advice(tmp_path: Path) -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        pytest.skip('the script refuses this Python')
    nowhere = 'http://127.0.0.1:9/simple'
    result = install(
        tmp_path,
        '--venv',
        'new',
        '--python',
        Path(sys.base_prefix, 'bin', 'python3'),
        PIP_CONFIG_FILE='/dev/null',
        PIP_INDEX_URL=nowhere,
        PIP_EXTRA_INDEX_URL=nowhere,
        PIP_FIND_LINKS='',
        PIP_NO_CACHE_DIR='1',
        PIP_RETRIES='0',
    )
    assert result.returncode == 1
    assert 'step 2 of 7 failed: PyTorch and build tools' in result.stderr
    assert 'check the network' in result.stderr
    log = Path(re.search(r'whole log: +(\S+)', result.stderr).group(1))
    assert 'No matching distribution' in log.read_text()
    stamp = tmp_path / 'new' / 'amd-mm-install.stamp'
    assert stamp.read_text().startswith('unfinished')


def test_state_reports_pins_that_are_not_met(tmp_path: Path) -> None:
    pins = tmp_path / 'pins.txt'
    pins.write_text('# comment\npytest==0.1  # old\nno-such-package==1\n')
    result = run([sys.executable, STATE, 'pins', pins], tmp_path)
    assert result.returncode == 1
    assert 'pytest==0.1, found' in result.stdout
    assert 'no-such-package==1, found nothing' in result.stdout
    pins.write_text(f'pytest=={pytest.__version__}\n')
    succeed(run([sys.executable, STATE, 'pins', pins], tmp_path))


@pytest.mark.parametrize('build', ['one', 'one-lite', 'one-headless'])
def test_state_accepts_lesser_builds(tmp_path: Path, build: str) -> None:
    info = tmp_path / f'{build.replace("-", "_")}-2.1.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Name: {build}\nVersion: 2.1\n')
    pins = tmp_path / 'pins.txt'
    pins.write_text('one==2.1\n')
    command = [sys.executable, STATE, 'pins', pins]
    succeed(run(command, tmp_path, PYTHONPATH=str(tmp_path)))
    pins.write_text('one==2.2\n')
    result = run(command, tmp_path, PYTHONPATH=str(tmp_path))
    assert result.stdout == 'one==2.2, found 2.1\n'


def test_key_changes_with_what_it_is_made_of(tmp_path: Path) -> None:
    pins = tmp_path / 'pins.txt'

    def key(content: str, *words: str) -> str:
        pins.write_text(content)
        return succeed(
            run([sys.executable, STATE, 'key', '--files', pins, '--words', *words], tmp_path)
        )

    keys = {key('a==1', 'x'), key('a==2', 'x'), key('a==1', 'y')}
    assert len(keys) == 3
    assert key('a==1', 'x') in keys


def test_mmcv_tag_names_what_a_wheel_depends_on(tmp_path: Path) -> None:
    output = succeed(run([sys.executable, STATE, 'mmcv-tag', '2.1.0'], tmp_path))
    import torch

    python = 'cp{}{}'.format(*sys.version_info[:2])
    torch_version = torch.__version__.split('+')[0]
    assert re.fullmatch(
        rf'mmcv-2\.1\.0-{python}-\w+-torch{re.escape(torch_version)}-cpu', output.splitlines()[0]
    )


def pinned(path: Path) -> list:
    """Requirement lines of a file, without comments."""
    lines = [line.partition('#')[0].strip() for line in path.read_text().split('\n')]
    return [line for line in lines if line]


@pytest.mark.parametrize(
    'path',
    sorted(REQUIREMENTS.rglob('*.txt')),
    ids=lambda path: str(path.relative_to(REQUIREMENTS)),
)
def test_every_requirement_is_pinned(path: Path) -> None:
    assert pinned(path)
    for line in pinned(path):
        assert re.fullmatch(r'[A-Za-z0-9_-]+==[0-9][0-9a-z.]*', line), line


@pytest.mark.parametrize(
    'folder', [REQUIREMENTS, REQUIREMENTS / 'classic'], ids=lambda path: path.name
)
def test_nothing_is_pinned_twice(folder: Path) -> None:
    names = [
        line.partition('==')[0].lower().replace('_', '-')
        for path in folder.glob('*.txt')
        for line in pinned(path)
    ]
    assert len(names) == len(set(names))


def test_no_package_host_is_named() -> None:
    scripts = SCRIPT.parent.glob('install*')
    for path in [*scripts, *REQUIREMENTS.rglob('*.txt')]:
        assert '://' not in path.read_text(), path
