"""Entry of `batchyard` and `python -m batchyard`. Answers --version before anything heavy loads."""

import sys


def main() -> int:
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"], ["version"]):
        from batchyard import __version__

        sys.stdout.write(f"batchyard {__version__}\n")
        return 0
    from batchyard.cli.app import run_command_line

    return run_command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
