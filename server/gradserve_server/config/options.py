"""What the command line said."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The flags of `gradserve serve`; None, False and empty stand for a flag that was not given.

    Attributes:
        config: A TOML file.
        listen: As `server.listen`.
        metrics_listen: As `server.metrics_listen`.
        data_dir: As `store.data_dir`.
        ephemeral: As `store.ephemeral`; refused beside data_dir.
        examples: As `server.examples`.
        settings: Any setting as "section.key=value", its value written as in TOML; quotes around text may be left out.
        check_config: Whether to check the configuration and stop.
        print_config: Whether to print the configuration and stop.
    """

    config: Path | None = None
    listen: str | None = None
    metrics_listen: str | None = None
    data_dir: Path | None = None
    ephemeral: bool = False
    examples: bool = False
    settings: tuple[str, ...] = ()
    check_config: bool = False
    print_config: bool = False
