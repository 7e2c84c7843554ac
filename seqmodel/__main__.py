"""`python -m seqmodel VERB ...`: the command `seqmodel`, for when its script is not on the PATH."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    # Python searches the working directory first; its files must not shadow installed packages
    sys.path.append(sys.path.pop(0))

from seqmodel.cli.verbs import main

if __name__ == "__main__":
    sys.exit(main())
