#!/bin/sh
# The smoke run and tests in Debian 13, whose Python is 3.13.
#   tests/debian.sh FOLDER TESTS...
# debootstrap makes the system in FOLDER, where it stays for the next time. Needs root.
set -eu
root=$1
shift
release=trixie

if [ ! -e "$root/.made" ]; then
  command -v debootstrap >/dev/null || apt-get install -y -q --no-install-recommends debootstrap
  echo "Making Debian 13 in $root: a minute or more."
  debootstrap --variant=minbase --include=python3,python3-venv,git,make,ca-certificates \
    "$release" "$root" >"$root.log" 2>&1 || { tail "$root.log" >&2; exit 1; }
  touch "$root/.made"
fi

# The network of this machine, as its pip has it.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -e "$file" ]; then cp "$file" "$root$file"; fi
done

rm -rf "$root/src"
mkdir "$root/src"
git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null |
  tar -cf - -T - | tar -xf - -C "$root/src"

# What is mounted is so for these commands alone.
unshare --mount sh -s "$root" "$@" <<'END'
set -eu
root=$1
shift
mount --bind /proc "$root/proc"
mount --bind /dev/shm "$root/dev/shm"
exec env -u PYTHONPATH PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
  chroot "$root" sh -euc '
    cd /src
    make VENV=/venv /venv/.installed-test
    rm -rf /tmp/smoke
    /venv/bin/python bin/train --config configs/smoke.py --config.data.dir=/tmp/data \
      --config.export_dir=/tmp/smoke/models --workdir=/tmp/smoke/run
    exec /venv/bin/python -m pytest -q -p no:cacheprovider "$@"
  ' sh "$@"
END
