"""A run whose valid_loss is a known function: Branin's (1972) of lr and weight_decay in [0, 1].

--log_every_n_steps is how many milliseconds an epoch takes; the loss goes down to the function's
value within --max_epochs. seed=13 fails at its first attempt.
"""

import math
import os
import sys
import time


def branin(u, v):
    """The least value is 0.397887, at three places."""
    x, y = 15 * u - 5, 15 * v
    a = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return a * a + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def main():
    args = dict(word[2:].split("=", 1) for word in sys.argv[3:])
    root = args["default_root_dir"]
    n_epochs, ms = int(args.get("max_epochs", 10)), float(args.get("log_every_n_steps", 50))
    level = branin(float(args.get("lr", 1e-3)), float(args.get("weight_decay", 0.01)))
    with open(f"{root}/ran", "a") as file:
        file.write("ran\n")
        first = file.tell() == 4
    if args.get("seed") == "13" and first:
        raise ValueError("unlucky")
    with open(f"{root}/metrics.csv", "w") as file:
        file.write("epoch,step,valid_loss\n")
    for epoch in range(n_epochs):
        if ms > 50:
            time.sleep(ms / 1000)
        with open(f"{root}/metrics.csv", "a") as file:
            file.write(f"{epoch},{epoch + 1},{level + 10 * (n_epochs - 1 - epoch) / n_epochs!r}\n")
    os.makedirs(f"{root}/checkpoints", exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
