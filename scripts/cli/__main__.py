"""The command `firnline`: of a checkout by `python -m scripts.cli`, of a wheel by its console script, and of child processes.

A wheel has `actors`, `config`, `gateway` and `scripts` below `firnline_server`. This process alone has that folder on its path,
in place of the script's own folder: here our names win, everywhere else the user's.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from scripts.cli.main import main  # noqa: E402  # after the path is set

if __name__ == "__main__":
    main()
