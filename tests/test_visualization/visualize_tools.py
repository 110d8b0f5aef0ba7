"""Running the scripts in tools/visualize in this process."""

import sys

from ..test_tools.tool_scripts import TOOLS, load_tool


def run_tool(name: str, *arguments: object) -> int:
    """Run ``tools/visualize/<name>.py``; its exit code."""
    folder = str(TOOLS / 'visualize')
    sys.path.insert(0, folder)  # as Python does for a script
    try:
        tool = load_tool(f'visualize/{name}')
    finally:
        sys.path.remove(folder)
    return tool.main([str(one) for one in arguments])
