"""``python -m stateguard``: the same as the command ``stateguard``."""

from stateguard.cli import main

if __name__ == "__main__":
    main()
