"""`python -m authflow.cli`, for where the `authflow` script is not on the path."""

from authflow.cli.main import main

main()
