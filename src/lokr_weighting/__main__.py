"""`python -m lokr_weighting`: for launchers that take a module."""

from lokr_weighting.cli import main

if __name__ == "__main__":
    main()
