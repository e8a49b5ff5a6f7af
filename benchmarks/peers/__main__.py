"""Set up the virtual environments of the peers: `python -m benchmarks.peers`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import DEFAULT_FOLDER, Environments, InstallationError


def main() -> None:
    """Install each peer, and tell of each whether it worked."""
    parser = argparse.ArgumentParser(description="Install the servers that Gradserve is compared with, from PyPI.")
    names = [peer.name for peer in PEERS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(names)} (default: all)")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where to (default: %(default)s)")
    options = parser.parse_args()
    if not set(options.names) <= set(names):
        parser.error(f"there are only {', '.join(names)}")
    console, failed = Console(highlight=False, markup=False), False
    for peer in PEERS:
        if not options.names or peer.name in options.names:
            with console.status(f"installing {peer.requirement}"):
                failed |= not _installed(console, Environments(options.folder), peer)
    raise SystemExit(failed)


def _installed(console: Console, environments: Environments, peer: Peer) -> bool:
    try:
        environments.set_up(peer)
    except InstallationError as error:
        console.print(f"{peer.title}: not installed\n{error}")
        return False
    console.print(f"{peer.title}: {peer.requirement}")
    return True


if __name__ == "__main__":
    main()
