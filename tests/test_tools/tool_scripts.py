"""Loading the scripts in tools/ as modules."""

import importlib.util
import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

from tests.conftest import process_of_its_own

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def load_tool(name: str) -> ModuleType:
    """The module of ``tools/<name>.py``, without running it."""
    spec = importlib.util.spec_from_file_location(f'amd_mm_tool_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(name: str, *arguments: object) -> CompletedProcess:
    """What ``tools/<name>.py`` does as a program, without its imports' time.

    Args:
        name (str): Of the script.
        *arguments (object): The command line.

    Returns:
        CompletedProcess: With what was printed. An error that would end the
        program with a traceback is raised.
    """
    argv = [str(one) for one in arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    # MMEngine finds a run's logger by its name and second, which two runs may share.
    with process_of_its_own(), redirect_stdout(out), redirect_stderr(err):
        try:
            found = load_tool(name).main(argv)
            code = found if isinstance(found, int) else 0
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):  # as Python does
                print(code, file=sys.stderr)
                code = 1
    return CompletedProcess(argv, code, out.getvalue(), err.getvalue())
