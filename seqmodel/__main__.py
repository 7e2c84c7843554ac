"""`python -m seqmodel VERB ...`: the command `seqmodel`, where its script is not on the PATH."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    # Python puts the working directory first: there, no file may pass for an installed package
    sys.path.append(sys.path.pop(0))

from seqmodel.cli.verbs import main

if __name__ == "__main__":
    sys.exit(main())
