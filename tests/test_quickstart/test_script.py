"""The command line of tools/quickstart.sh, before anything is installed."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def quickstart(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['bash', str(ROOT / 'tools' / 'quickstart.sh'), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_option() -> None:
    done = quickstart('--help')
    assert done.returncode == 0
    for option in ('--videos', '--seeds', '--out', '--fine-tune', '--help'):
        assert option in done.stdout


@pytest.mark.parametrize(
    'arguments, complaint',
    [
        (['--video', 'x'], 'unknown option --video'),
        (['--seeds', '1', 'two'], 'unknown option two'),
        (['--seeds'], '--seeds needs numbers'),
        (['--out'], '--out needs a folder'),
        (['--videos', '/nowhere at all'], '/nowhere at all is no folder'),
    ],
)
def test_wrong_options_stop_it(arguments: list, complaint: str) -> None:
    done = quickstart(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
