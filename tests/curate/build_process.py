"""A build in a process of its own, to be killed: SOURCE OUTPUT PROCESSES SAMPLES_PER_SHARD."""

import json
import sys
from typing import Any


def loaded_modules(job: Any, item: str) -> bool:
    """Whether a worker that has worked has imported the module."""
    return item in sys.modules


def main() -> int:
    # Workers import this file too, and need none of these.
    from bioclip_jax.curate.build.build import build_shards
    from bioclip_jax.curate.build.settings import BuildSettings
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
