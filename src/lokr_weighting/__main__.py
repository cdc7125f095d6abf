"""The command line's beginning; `python -m lokr_weighting` is for launchers that take a module."""

from lokr_weighting.stopping import in_one_line, without_word


def main() -> None:
    """Run the command line; it can be interrupted while it is still imported."""
    try:
        with in_one_line():
            from lokr_weighting.cli import main as run

            run()
    finally:
        without_word()


if __name__ == "__main__":
    main()
