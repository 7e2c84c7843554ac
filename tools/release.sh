#!/bin/sh
# Tags the version of seqmodel/__init__.py, if everything that belongs to a release is there.
#   tools/release.sh                     checks the checkout, then tags v<VERSION>
#   tools/release.sh COMMIT              the same for an earlier commit of main, with its own version
#   tools/release.sh --check [COMMIT]    checks alone
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "release: $1" >&2
    exit 2
}

check=
[ "${1:-}" = --check ] && { check=1; shift; }
commit=$(git rev-parse --verify --quiet "${1:-HEAD}^{commit}") || refuse "there is no commit $1"
if [ $# = 0 ]; then
    branch=$(git rev-parse --abbrev-ref HEAD)
    [ "$branch" = main ] || refuse "this is the branch $branch; releases are made of main"
    [ -z "$(git status --porcelain)" ] || refuse "there are uncommitted changes: $(git status --porcelain | head -n 1)"
else
    git merge-base --is-ancestor "$commit" main || refuse "$1 is not part of main; releases are made of main"
fi

content() { git show "$commit:$1" 2>/dev/null || true; }

version=$(content seqmodel/__init__.py | sed -n 's/^VERSION = "\([0-9]*\.[0-9]*\.[0-9]*\)"$/\1/p')
[ -n "$version" ] || refuse 'seqmodel/__init__.py has no line VERSION = "1.2.3"'
[ -z "$(git tag --list "v$version")" ] || refuse "v$version is tagged already; raise VERSION in seqmodel/__init__.py"
first=$(content CHANGELOG.md | sed -n '/^## Unreleased/,/^## [0-9]/p' | grep -v '^## \|^$' | head -n 1)
[ -z "$first" ] || refuse "CHANGELOG.md has unreleased changes; move them to '## $version': $first"
content CHANGELOG.md | grep -qx "## $version" || refuse "CHANGELOG.md has no section '## $version'"
content CITATION.cff | grep -qx "version: $version" || refuse "CITATION.cff does not say 'version: $version'"
[ -n "$(content "tests/archive/$version/outputs.json")" ] ||
    refuse "tests/archive/$version/ is missing; write it by python tests/archive/cases.py and commit it"
content tests/archive/definitions.json | grep -q "\"$version\"" ||
    refuse "tests/archive/definitions.json has no digest for $version"
[ -z "$check" ] || { echo "release: v$version can be tagged"; exit 0; }
git tag -a "v$version" -m "seqmodel $version" "$commit"
echo "release: tagged v$version; publish it by: git push origin main v$version"
