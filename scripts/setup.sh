#!/usr/bin/env bash
# Installs what the build needs and is missing; says and does nothing when nothing is.
#   scripts/setup.sh        the compiler, the build tools and the libraries
#   scripts/setup.sh --dev  as well what scripts/lint.sh and scripts/fuzz.sh need, and oneDNN
#   scripts/setup.sh --readers  as well build/readers: Python programs that read our files in tests (scripts/readers.sh),
#                           and the browser that the page is tested in
#   scripts/setup.sh --ci   all of these
# Debian 12 and Ubuntu 24.04 (apt), macOS 14 and later (Homebrew). On anything else, install the packages it names by
# hand and set INK_SKIP_SETUP=1: the scripts that call this one then leave the machine as it is.
set -euo pipefail

fail() {
  echo "setup: $*" >&2
  exit 1
}

debian_packages=(
  g++ cmake ninja-build ccache pkg-config ca-certificates libhwy-dev libfmt-dev libtomlplusplus-dev nlohmann-json3-dev
  libcli11-dev libcpp-httplib-dev libcurl4-openssl-dev libssl-dev libgtest-dev libedit-dev libonnx-dev libprotobuf-dev
)
# The linters, the compiler that fuzzes, and a matrix library to test and measure against.
debian_dev_packages=(clang-format-14 clang-tidy-14 shellcheck git clang-14 libclang-rt-14-dev libdnnl-dev)
# What the Python programs stand on: PyTorch without a graphics card's libraries, which PyPI's brings along. Chromium with
# what drives it; Ubuntu, which has no such packages, may have Chrome.
debian_readers_packages=(python3-venv python3-torch chromium chromium-driver)
# The matrix library is Apple's Accelerate and curl comes with the system.
brew_formulas=(
  cmake ninja ccache pkgconf highway fmt tomlplusplus nlohmann-json cli11 cpp-httplib openssl@3 googletest onnx protobuf
)

dev=no readers=no
for option in "$@"; do
  case $option in
    --dev) dev=yes ;;
    --readers) readers=yes ;;
    --ci) dev=yes readers=yes ;;
    *) echo "setup: unknown option $option; usage: scripts/setup.sh [--dev] [--readers] [--ci]" >&2 && exit 2 ;;
  esac
done
[[ -z ${INK_SKIP_SETUP:-} ]] || exit 0

# Prints the packages among the arguments that are not installed, separated by blanks.
missing_debian_packages() {
  local installed package missing=()
  installed=$'\n'$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)$'\n'
  for package in "$@"; do
    [[ $installed == *$'\n'"installed $package"$'\n'* ]] || missing+=("$package")
  done
  echo "${missing[*]-}"
}

# Installs the packages named that are missing.
install_debian_packages() {
  local missing as_root=(env)
  read -ra missing <<<"$(missing_debian_packages "$@")"
  [[ ${#missing[@]} -gt 0 ]] || return 0

  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || fail "no sudo here; run as root: apt-get install ${missing[*]}"
    as_root=(sudo env)
  fi
  echo "setup: installing ${missing[*]}"
  # No question may wait for an answer, and no package of the user's may go.
  as_root+=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  "${as_root[@]}" update </dev/null || fail "apt-get update failed; check the network and the package sources"
  "${as_root[@]}" install --yes --no-install-recommends --no-remove "${missing[@]}" </dev/null >/dev/null ||
    fail "apt-get could not install: ${missing[*]} (known to work on Debian 12 and Ubuntu 24.04)"
}

setup_debian() {
  local wanted=("${debian_packages[@]}") package
  [[ $dev == no ]] || wanted+=("${debian_dev_packages[@]}")
  install_debian_packages "${wanted[@]}"
  [[ $readers == yes ]] || return 0
  # Tests skip without them: one that cannot be had is no failure.
  for package in "${debian_readers_packages[@]}"; do (install_debian_packages "$package") || true; done
}

setup_macos() {
  local version installed formula missing=()
  version=$(sw_vers -productVersion)
  [[ ${version%%.*} -ge 14 ]] || fail "macOS $version is too old; 14 or later is needed"
  xcode-select -p >/dev/null 2>&1 || fail "no compiler; run: xcode-select --install"
  command -v brew >/dev/null || fail "no Homebrew (https://brew.sh); it is needed for: ${brew_formulas[*]}"
  # clang-format and clang-tidy 14 are not in Homebrew: lint.sh runs on Linux.
  installed=$'\n'$(brew list --formula -1)$'\n'
  for formula in "${brew_formulas[@]}"; do
    [[ $installed == *$'\n'"$formula"$'\n'* ]] || missing+=("$formula")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  echo "setup: installing ${missing[*]}"
  NONINTERACTIVE=1 brew install --quiet "${missing[@]}" </dev/null || fail "brew could not install: ${missing[*]}"
}

if [[ $(uname -s) == Darwin ]]; then
  setup_macos
elif command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  setup_debian
else
  fail "no apt-get or Homebrew here; install by hand, then set INK_SKIP_SETUP=1 (Debian's names): ${debian_packages[*]}"
fi
[[ $readers == no ]] || "$(dirname "${BASH_SOURCE[0]}")/readers.sh"
