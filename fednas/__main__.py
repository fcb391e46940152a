"""``python -m fednas`` is ``fednas``."""

from fednas.cli import main

if __name__ == "__main__":
    main()
