"""Run a build in a process that a test can kill: SOURCE OUTPUT PROCESSES SAMPLES_PER_SHARD."""

import json
import sys
from typing import Any


def loaded_modules(job: Any, item: str) -> bool:
    """True if the worker has imported the module."""
    return item in sys.modules


def main() -> int:
    # Imported here, because workers import this file too.
    from bioclip_jax.curate.build import BuildSettings, build_shards
    from bioclip_jax.errors import UserError

    source, output, processes, samples_per_shard = sys.argv[1:]
    settings = BuildSettings(samples_per_shard=int(samples_per_shard), dedup="exact")
    try:
        print(json.dumps(build_shards(source, output, settings, processes=int(processes))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
