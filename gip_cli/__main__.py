"""The `gip` command, quiet from its first moment: Ctrl-C while modules load is no traceback."""

from __future__ import annotations

import signal


def main() -> None:
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:  # not where a shell has told its background jobs to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gip_cli.cli import main as run

    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
