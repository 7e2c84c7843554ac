#!/bin/sh
# Tags the version that stands in seqmodel/__init__.py, if everything that belongs to a release is there.
#   tools/release.sh            checks, then tags v<VERSION>
#   tools/release.sh --check    checks alone
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "release: $1" >&2
    exit 2
}

version=$(sed -n 's/^VERSION = "\([0-9]*\.[0-9]*\.[0-9]*\)"$/\1/p' seqmodel/__init__.py)
[ -n "$version" ] || refuse 'seqmodel/__init__.py has no line VERSION = "1.2.3"'
branch=$(git rev-parse --abbrev-ref HEAD)
[ "$branch" = main ] || refuse "this is the branch $branch; releases are made of main"
[ -z "$(git status --porcelain)" ] || refuse "there are uncommitted changes: $(git status --porcelain | head -n 1)"
[ -z "$(git tag --list "v$version")" ] || refuse "v$version is tagged already; raise VERSION in seqmodel/__init__.py"
grep -q "^## $version" CHANGELOG.md || refuse "CHANGELOG.md has no section '## $version'"
grep -q "^version: $version$" CITATION.cff || refuse "CITATION.cff does not say 'version: $version'"
[ -f "tests/archive/$version/outputs.json" ] ||
    refuse "tests/archive/$version/ is missing; write it by python tests/archive/cases.py and commit it"
grep -q "\"$version\"" tests/archive/definitions.json ||
    refuse "tests/archive/definitions.json has no digest for $version"
[ "${1:-}" = --check ] && { echo "release: v$version can be tagged"; exit 0; }
git tag -a "v$version" -m "seqmodel $version"
echo "release: tagged v$version; publish it by: git push origin main v$version"
