"""The command ``demo``: the service of one or two checkpoints on this machine."""

import socket
from collections.abc import Mapping
from importlib.util import find_spec

from recbole_missrec.errors import UsageError
from recbole_missrec.serving.commands import SCORING, options_of
from recbole_missrec.words import say, switch, whole_number

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def demo(checkpoint: str, options: Mapping[str, str]) -> None:
    """Serve until interrupted.

    Args:
        checkpoint: path of a best checkpoint.
        options: of the command line, values as text.

    Raises:
        UsageError: bad input, or a package is missing; see the help of the command.
    """
    own = {"beside": "", "host": "127.0.0.1", "port": "8000"}
    own |= {"titles": "", "pictures": "", "approximate": "False"}
    given, others = options_of("demo", options, own, SCORING)
    port = whole_number("port", given["port"], 0)
    shown = {key: given[key] for key in ("titles", "pictures")}
    approximate = switch("approximate", given["approximate"])
    for module in ("fastapi", "uvicorn"):
        if find_spec(module) is None:
            raise UsageError(f"demo: needs {module}; `pip install {module}`")
    import uvicorn

    from recbole_missrec.serving.service import LOOPBACK as ALLOWED
    from recbole_missrec.serving.service import make_app
    from recbole_missrec.serving.shelf import Shelf

    family = socket.AF_INET6 if ":" in given["host"] else socket.AF_INET
    with socket.socket(family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((given["host"], port))
            listening.listen(2048)  # from now on calls wait for the models
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"--host={given['host']} --port={port}: {reason}") from error
        checkpoints = [checkpoint, *([given["beside"]] if given["beside"] else [])]
        shelf = Shelf(checkpoints, others, {**shown, "approximate": approximate})
        hosts = ALLOWED if given["host"] in LOOPBACK else ["*"]
        server = uvicorn.Server(uvicorn.Config(make_app(shelf, hosts), log_level="warning"))
        name = f"[{given['host']}]" if ":" in given["host"] else given["host"]
        say(f"http://{name}:{listening.getsockname()[1]}/  (Ctrl+C ends it)")
        server.run(sockets=[listening])
