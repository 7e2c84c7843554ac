"""`python -m seqmodel VERB ...`: the command `seqmodel`, where its script is not on the PATH."""

import sys

from seqmodel.cli import main

if __name__ == "__main__":
    sys.exit(main())
