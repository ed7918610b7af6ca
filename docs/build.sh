#!/usr/bin/env bash
# Builds the site in BUILD/docs/site: guides, and a reference for each language. The generators are pinned, and installed
# once: Doxygen by Debian, pdoc and mkdocs from PyPI (requirements.txt), typedoc from npm (package-lock.json).
#
# usage: BUILD=build docs/build.sh       after make build node
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${BUILD:-build}")
out=$build/docs
site=$out/site
mkdir -p "$out"
rm -rf "$site"
say() { echo "docs: $*"; }

tools=$build/tools/docs-$(cat docs/requirements.txt docs/package-lock.json | sha256sum | cut -c 1-16)
if [ ! -d "$tools" ]; then
    say "installing pdoc, mkdocs and typedoc (once)"
    rm -rf "$tools.new"
    mkdir -p "$tools.new"
    cp docs/package.json docs/package-lock.json "$tools.new/"
    npm ci --prefix "$tools.new" --ignore-scripts --no-audit --no-fund --silent
    # A virtual environment knows its own path.
    mv "$tools.new" "$tools"
    python3 -m venv "$tools/venv" && "$tools/venv/bin/pip" install --quiet -r docs/requirements.txt ||
        { rm -rf "$tools"; exit 1; }
fi

say "guides"
rm -rf "$out/pages"
mkdir -p "$out/pages"
cp -r docs/guides docs/index.md docs/reference.md "$out/pages/"
# What says how an example is run, and that a block is output, is not for readers. The reference is not there yet.
sed -i -E 's/^```(c|python|js|cmake) .*$/```\1/; s/^```output$/```text/' "$out"/pages/guides/*.md
mkdir -p "$out/pages/c" "$out/pages/python/capsa" "$out/pages/node" "$out/pages/rust/capsa" "$out/pages/rust/capsa_sys"
touch "$out"/pages/{c/capsa_8h,python/capsa,python/capsa/aio,node/index,rust/capsa/index,rust/capsa_sys/index}.html
sed "s,^site_name:,docs_dir: $out/pages\nsite_dir: $site\n&," docs/mkdocs.yml >"$out/mkdocs.yml"
"$tools/venv/bin/mkdocs" build --quiet --strict --config-file "$out/mkdocs.yml"
rm -rf "$site"/{c,python,node,rust}

say "reference of C"
{ cat docs/Doxyfile; printf 'OUTPUT_DIRECTORY = "%s"\nHTML_OUTPUT = c\n' "$site"; } | doxygen -

say "reference of Python"
CAPSA_LIBRARY=$build/libcapsa.so.0 PYTHONPATH=bindings/python/src "$tools/venv/bin/pdoc" --docformat restructuredtext \
    --no-include-undocumented -o "$site/python" capsa capsa.aio '!capsa._bindings' '!capsa._ffi' >/dev/null

say "reference of JavaScript"
# Types of Node itself are those that the tests of the declarations use.
cat >"$out/tsconfig.json" <<END
{
  "compilerOptions": {
    "module": "nodenext", "moduleResolution": "nodenext", "target": "es2022", "strict": true, "types": ["node"],
    "typeRoots": ["$build/node/tools/node_modules/@types"]
  },
  "files": ["$PWD/bindings/node/lib/index.d.cts"]
}
END
"$tools/node_modules/.bin/typedoc" --entryPoints bindings/node/lib/index.d.cts --out "$site/node" --name capsa --readme none \
    --tsconfig "$out/tsconfig.json" --hideGenerator --treatWarningsAsErrors --logLevel Warn --excludePrivate \
    --disableSources

if command -v cargo >/dev/null 2>&1; then
    say "reference of Rust"
    PKG_CONFIG_PATH=$build/polyglot/prefix/lib/pkgconfig CARGO_TARGET_DIR=$build/abi/cargo RUSTDOCFLAGS='-D warnings' \
        cargo doc --quiet --offline --manifest-path bindings/rust/capsa/Cargo.toml
    rm -rf "$site/rust"
    cp -r "$build/abi/cargo/doc" "$site/rust"
else
    echo "docs: the reference of Rust is left out: no cargo on this machine"
fi
python3 docs/check_site.py "$site"
say "made in $site"
