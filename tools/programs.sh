#!/bin/sh
# Installs the Debian programs that some tests compare with, where that can be done without asking:
# as root on Debian or Ubuntu. Elsewhere it says what is missing and those tests are skipped.
# Where CI=true the tests that lack their program fail instead (tests/programs.py).
set -eu

# program:package
wanted="bedtools:bedtools rsync:rsync ssh:openssh-client sshd:openssh-server
    sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd munged:munge faketime:faketime
    chromium:chromium chromedriver:chromium-driver"

missing=""
PATH=$PATH:/usr/sbin:/sbin # daemons are not on everybody's path
for pair in $wanted; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; then
    echo "programs: installing Debian packages for the tests:$missing"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # one word a package
    { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing >/dev/null; } ||
        echo "programs: the installation failed; tests that need$missing are skipped (failed where CI=true)"
else
    echo "programs: tests that need$missing are skipped; on Debian and Ubuntu: apt-get install$missing"
fi
