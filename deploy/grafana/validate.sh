#!/bin/sh
# Do the dashboards fit Grafana's own types? Compiles them with the package @grafana/schema, which Grafana is built with.
#
#     deploy/grafana/validate.sh [VERSION ...]      of @grafana/schema, 11.6.16, 12.1.1 (that of compose.yaml) and 13.2.3 if none is named
#
# Needs npm, its registry and python3; writes into a folder of its own, which it removes. Ends with 0 only if every
# dashboard compiles and a spoilt copy of each does not. The tests do the cheap half: they read each file with the types
# of Grafana 11.6.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- 11.6.16 12.1.1 13.2.3

for version; do
    mkdir "$work/$version"
    cd "$work/$version"
    echo '{"private": true}' > package.json
    npm install --silent --no-audit --no-fund "@grafana/schema@$version" typescript@7.0.2
    for kind in good spoilt; do
        cat > "$kind.json" <<END
{"compilerOptions": {"strict": true, "noEmit": true, "module": "preserve", "moduleResolution": "bundler",
 "target": "es2022", "skipLibCheck": true, "types": [],
 "paths": {"@grafana/schema/dist/esm/*": ["./node_modules/@grafana/schema/dist/esm/*.d.ts"]}}, "include": ["$kind"]}
END
    done
    python3 "$here/validate.py" good
    python3 "$here/validate.py" spoilt --broken
    npx tsc --project good.json
    found=$(npx tsc --project spoilt.json | cut -d "(" -f 1 | sort -u | wc -l)
    made=$(find spoilt -name '*.ts' | wc -l)
    if [ "$found" -ne "$made" ]; then
        echo "Of $made spoilt dashboards only $found were refused: this check does not check." >&2
        exit 1
    fi
    echo "$made dashboards fit the types of Grafana $version; their spoilt copies do not."
done
