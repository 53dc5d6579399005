"""`python -m tokenmeter.cli`, for where the console script is not on the path."""

from tokenmeter.cli import main

raise SystemExit(main())
