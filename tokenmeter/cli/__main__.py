"""`python -m tokenmeter.cli`: the command line where the console script is not on the path."""

from tokenmeter.cli import main

raise SystemExit(main())
