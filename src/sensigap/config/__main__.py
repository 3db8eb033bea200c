"""Writes what is made from the models.

`python -m sensigap.config` writes the JSON schema to standard output, and
`python -m sensigap.config config/README.md` makes the tables of that page again.
"""

import json
import sys
from pathlib import Path

from sensigap.config import json_schema
from sensigap.config.documentation import updated

if __name__ == "__main__":
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
