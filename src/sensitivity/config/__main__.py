"""`python -m sensitivity.config` writes the JSON schema of the configuration to standard output."""

import json
import sys

from sensitivity.config import json_schema

if __name__ == "__main__":
    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
