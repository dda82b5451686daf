#!/bin/bash
# Bazel without a network, from Debian's packages alone.
#
#   tools/bazel_offline.sh             tests //tests/layers/... and configs
#   tools/bazel_offline.sh test //tests/backbones/... --test_filter=vit_golden
#   tools/bazel_offline.sh build //...
#
# Needs: apt-get install bazel-bootstrap bazel-platforms bazel-rules-cc \
#   bazel-rules-java bazel-rules-proto bazel-skylib
#
# Bazel 4.2 wants to fetch six repositories before it runs any test. Five are
# in these packages; the sixth is for coverage reports and stays empty. What is
# built lies in $TF_TOKENLEARNER_BAZEL_CACHE (~/.cache/tf_tokenlearner_bazel).
set -eu
cd "$(dirname "$0")/.."

share=${BAZEL_SHARE:-/usr/share/bazel}
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/tf_tokenlearner_bazel
cache=${TF_TOKENLEARNER_BAZEL_CACHE:-$cache}

if ! command -v bazel >/dev/null; then
  echo "bazel_offline.sh: no bazel; apt-get install bazel-bootstrap" >&2
  exit 2
fi
for pair in rules/cc=rules-cc rules/java=rules-java rules/proto=rules-proto \
    tools/platforms=platforms tools/skylib=skylib; do
  if ! [ -e "$share/${pair%=*}" ]; then
    echo "bazel_offline.sh: no $share/${pair%=*};" \
      "apt-get install bazel-${pair#*=}" >&2
    exit 2
  fi
done

# Debian's rules_cc is newer than its Bazel, which has no use_cpp_toolchain()
# yet; what it returns is the list of this one label.
rm -rf "$cache/rules_cc"
mkdir -p "$cache/remote_coverage_tools"
cp -r "$share/rules/cc" "$cache/rules_cc"
grep -rl use_cpp_toolchain "$cache/rules_cc" | xargs -r sed -i \
  -e 's|, "use_cpp_toolchain")|)|' \
  -e 's|use_cpp_toolchain()|["@bazel_tools//tools/cpp:toolchain_type"]|'
echo 'workspace(name = "remote_coverage_tools")' \
  >"$cache/remote_coverage_tools/WORKSPACE"
echo 'filegroup(name = "coverage_report_generator",
  visibility = ["//visibility:public"])' >"$cache/remote_coverage_tools/BUILD"

[ $# -gt 0 ] || set -- test //tests/layers/... //tests/configs/...
command=$1
shift
# --batch leaves no server behind. What is taken out of stderr is a warning of
# newer Javas about an option that Debian's bazel sets.
exec bazel --batch --output_user_root="$cache/out" "$command" \
  --override_repository=rules_cc="$cache/rules_cc" \
  --override_repository=rules_java="$share/rules/java" \
  --override_repository=rules_proto="$share/rules/proto" \
  --override_repository=platforms="$share/tools/platforms" \
  --override_repository=bazel_skylib="$share/tools/skylib" \
  --override_repository=remote_coverage_tools="$cache/remote_coverage_tools" \
  --symlink_prefix=/ --nosandbox_debug --noshow_progress \
  --noshow_loading_progress --show_result=0 "$@" \
  2> >(grep -v -e -Xverify:none >&2)
