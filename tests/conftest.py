"""What all tests share."""

from __future__ import annotations

import sys
from pathlib import Path

# For the helpers in `tools` and `tests`. It comes last, so that `micropie` is the installed wheel in tox.
sys.path.append(str(Path(__file__).parents[1]))
