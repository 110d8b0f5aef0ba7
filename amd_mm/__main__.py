"""``python -m amd_mm``: the same as the command ``amd-mm``."""

from .cli import main

if __name__ == '__main__':
    main()
