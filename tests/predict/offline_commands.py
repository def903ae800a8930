"""Run commands in one process without network access, and print their exit statuses.

python offline_commands.py '[["predict", "a.jpg"], ...]'
"""

import json
import socket
import sys


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError(f"a connection was tried: {arguments} {options}")


# Python's own socket calls; getaddrinfo comes before every connection by name.
socket.getaddrinfo = socket.create_connection = refuse
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse

from bioclip_jax.cli import main  # noqa: E402

print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]), file=sys.stderr)
