#!/usr/bin/env bash
# `make demo`: backs up a training run, damages it, restores it, and proves the restored copy without Becalm's help.
#
#   demo.sh BECALM    the binary to show; BECALM_DEMO_KEEP=1 leaves the files behind
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
becalm=$(readlink -f "${1:?say which binary to show}")
place=$(mktemp -d "${TMPDIR:-/tmp}/becalm-demo-XXXXXX")
finish() {
    local code=$?
    if [ -n "${BECALM_DEMO_KEEP:-}" ]; then echo "kept: $place"; else chmod -R u+rwx "$place" && rm -rf "$place"; fi
    [ $code = 0 ] || printf '\nThe demonstration FAILED (exit %s).\n' "$code"
    exit $code
}
trap finish EXIT

bold='' plain='' dim=''
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m' dim=$'\e[2m'; fi
step=0
say() {
    step=$((step + 1))
    printf '\n%s%s. %s%s\n' "$bold" "$step" "$1" "$plain"
    shift
    local line
    for line in "$@"; do printf '   %s\n' "$line"; done
}
# Shows a command of Becalm's and runs it.
show() {
    printf '   %s$ becalm %s%s\n' "$dim" "$*" "$plain"
    "$becalm" "$@" 2>&1 | sed 's/^/   │ /'
}
# One member of the summary that --json ends with.
summary() { python3 -c 'import json, sys; print(json.loads(sys.stdin.readlines()[-1])[sys.argv[1]])' "$1"; }
die() {
    echo "   ✗ $*" >&2
    exit 1
}
holds() { printf '   ✓ %s\n' "$*"; }

export BECALM_REPOSITORY="$place/repository" BECALM_CACHE_DIR="$place/cache" BECALM_PASSWORD_FILE="$place/password"
unset BECALM_PASSWORD BECALM_PASSWORD_COMMAND
(umask 077 && head -c 24 /dev/urandom | base64 >"$BECALM_PASSWORD_FILE")
cd "$place"

say "A training run" "Checkpoints (safetensors and optimizer state), logs, a dataset cache of 800 small files, a sparse arena."
python3 "$here/training_run.py" run42 --steps 100,200
du -sh run42 | sed 's/^/   /'

say "A repository, and the first backup" "Encrypted with a key from a passphrase in a file; BECALM_REPOSITORY says where it is."
show init
show backup ./run42 --tag nightly

say "The run goes on, and the next backup" "One more checkpoint and a longer log. What is there already is not stored again."
python3 "$here/training_run.py" run42 --steps 300
json=$("$becalm" backup ./run42 --tag nightly --json)
read_bytes=$(summary bytes_read <<<"$json") stored=$(summary bytes_stored <<<"$json")
digest=$(summary content_digest <<<"$json") snapshot=$(summary snapshot <<<"$json")
total=$(du -sb run42 | cut -f1)
holds "snapshot ${snapshot:0:12}: the run has $((total / 1000000)) MB, $((read_bytes / 1000000)) MB were read, $((stored / 1000000)) MB added to the repository"
[ "$stored" -lt $((total * 2 / 3)) ] || die "the second backup stored nearly everything again"
again=$("$becalm" backup ./run42 --tag nightly --json)
[ "$(summary bytes_new <<<"$again")" = 0 ] || die "an unchanged run stored something new"
[ "$(summary content_digest <<<"$again")" = "$digest" ] || die "an unchanged run got another content digest"
holds "once more, unchanged: nothing added, the same content digest ${digest:0:16}…"

say "What is in the repository"
show snapshots

say "A manifest for those who have no Becalm" "The SHA-256 of each file, in the form that sha256sum reads."
show manifest "$snapshot" --format sha256sum --output manifest.sha256
head -n 3 manifest.sha256 | sed 's/^/   │ /'
python3 "$here/compare.py" --save before.json run42 | sed 's/^/   /'

say "The day it goes wrong" "The newest weights are deleted, a byte of an optimizer state is flipped, a log is cut short."
rm run42/checkpoints/step-300/model.safetensors
python3 - run42/checkpoints/step-200/optimizer.safetensors <<'P'
import os, sys
status = os.stat(sys.argv[1])
with open(sys.argv[1], "r+b") as file:
    file.seek(1_000_000)
    byte = file.read(1)[0]
    file.seek(1_000_000)
    file.write(bytes([byte ^ 1]))
os.utime(sys.argv[1], ns=(status.st_atime_ns, status.st_mtime_ns))
P
truncate -s 1000 run42/logs/train.jsonl
if python3 "$here/compare.py" --against before.json run42 >differences; then die "the damage does not show"; fi
sed 's/^/   │ /' differences
holds "the independent comparison sees it"

say "Is the repository itself whole?" "Every pack is read back and every chunk checked."
show verify --depth full

say "What a backup of the damaged run would have kept, and how it differs"
show backup ./run42 --tag damaged
show diff "$snapshot" latest

say "Restore" "Every chunk is checked on its way; --verify reads each file back against its SHA-256."
show restore "$snapshot" --target restored --verify

say "Proof, by tools that are not Becalm"
(cd restored && sha256sum --check --quiet ../manifest.sha256) || die "sha256sum finds a difference"
holds "sha256sum --check: all $(wc -l <manifest.sha256) files are what they were"
python3 "$here/compare.py" --against before.json restored/run42 | sed 's/^/   /'
holds "compare.py: names, bytes, modes, owners, times, links and holes are what they were"
restored=$(cd restored && "$becalm" backup ./run42 --tag restored --json | summary content_digest)
[ "$restored" = "$digest" ] || die "the restored run has another content digest"
holds "backed up again, the restored run has the same content digest ${digest:0:16}…"

say "Retention" "Only the two newest snapshots of each source are kept; what nothing refers to is collected later."
show forget --keep-last 2 --dry-run

printf '\n%sThe run is back, and proven.%s\n' "$bold" "$plain"
