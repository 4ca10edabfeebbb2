"""``python -m toolchain.cli`` is ``nastool``."""

from toolchain.cli import main

main()
