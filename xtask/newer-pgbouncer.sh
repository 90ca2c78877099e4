#!/bin/sh
# Puts the PgBouncer of a newer Debian into a folder, with the libraries that it is linked with. apt fetches and checks the packages
# as it always does, with lists and a state of its own, so that nothing on the machine changes.
set -eu
packages="pgbouncer libaudit1 libc6 libcap2 libcap-ng0 libcares2 libevent-2.1-7t64 libpam0g libssl3t64 libsystemd0 libzstd1 zlib1g"
# An interrupted run may have left halves.
rm -rf "$1"
mkdir -p "$1/lists/partial" "$1/state" "$1/cache/archives/partial" "$1/packages" "$1/root"
folder=$(cd "$1" && pwd)

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
test -e "$keyring" || { echo "the package debian-archive-keyring is not installed" >&2; exit 1; }
# The mirror that the machine has its own packages from.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
test -n "$mirror" || { echo "apt knows no mirror of Debian" >&2; exit 1; }
echo "deb [arch=amd64 signed-by=$keyring] $mirror trixie main" >"$folder/sources.list"
: >"$folder/state/status"
cat >"$folder/apt.conf" <<END
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "$folder/state";
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/state/status";
Dir::Cache "$folder/cache";
APT::Sandbox::User "";
APT::Architecture "amd64";
Acquire::Languages "none";
Acquire::http::Timeout "15";
END
export APT_CONFIG="$folder/apt.conf"
cd "$folder/packages"
apt-get -q update
apt-get -q download $packages

for package in *.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder/root" --no-same-owner; done
cd "$folder"
root=$folder/root libraries=$folder/root/usr/lib/x86_64-linux-gnu
rm -rf lists packages cache

# That release's loader takes that release's libraries. Last, because whoever finds this one asks for no other.
cat >"$folder/pgbouncer.new" <<END
#!/bin/sh
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/sbin/pgbouncer" "\$@"
END
chmod 755 "$folder/pgbouncer.new"
"$folder/pgbouncer.new" --version
mv "$folder/pgbouncer.new" "$folder/pgbouncer"
