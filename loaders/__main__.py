"""``python -m loaders`` is the ``pos`` command."""

from loaders.cli import main

if __name__ == "__main__":
    main()
