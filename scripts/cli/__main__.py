"""The command `firnline`: of a checkout by `python -m scripts.cli`, of a wheel by its console script, and of child processes.

A wheel has `actors`, `config`, `gateway` and `scripts` below `firnline_server`. This process alone has that folder on its path,
in place of the script's own folder: here our names win, everywhere else the user's.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

try:
    from scripts.cli.main import main
except ModuleNotFoundError as _error:  # of a package of others: ours are all there
    if str(_error.name).partition(".")[0] in {"actors", "config", "firnline", "gateway", "scripts"}:
        raise
    sys.exit(f"firnline: the command needs the packages of the service, such as {_error.name}: pip install 'firnline[server]'")

if __name__ == "__main__":
    main()
