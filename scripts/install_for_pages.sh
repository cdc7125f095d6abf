#!/bin/sh
# Installs Debian's package of what the tests of pages need, or says what to install.
set -eu
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
	echo "The tests of pages need $1, and there is none: install it (on Debian, as root:" >&2
	echo "apt-get install $1). Another Chromium: make test CHROMIUM=/path/to/chromium" >&2
	exit 1
fi
apt-get update -qq
# without fonts a page has no text
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$1" fonts-dejavu-core
