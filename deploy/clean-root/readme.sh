# Read by ../try-clean-root.sh: README's way to a first derived series, as somebody walks it who copies line by line.
# shellcheck shell=bash
# shellcheck disable=SC2154  # root, commit, ... are set by the script that reads this

readme_lines() {
  sed -n '/^## A first derived series in Orthanc$/,/^## Install/{/^```sh$/,/^```$/{/^```/!p}}' "$root/srv/release-1/README.md"
}

in_orthanc() { # until it has a series that this node made; what it is called, and of how many slices
  within bash -c '
    password=$(sed -n "s/^ORTHANC_PASSWORD=//p" /etc/orthanc-beside/environment)
    for _ in $(seq 180); do
      found=$(printf "user = \"admin:%s\"\n" "$password" | curl -sf -K - http://127.0.0.1:8042/tools/find -d \
        "{\"Level\": \"Series\", \"Expand\": true, \"Query\": {\"SeriesDescription\": \"*AI DENOISED*\"}}")
      python3 -c "import json, sys
found = json.loads(sys.argv[1])
for one in found: print(one[\"MainDicomTags\"][\"SeriesDescription\"], len(one[\"Instances\"]), \"slices\")
sys.exit(not found or len(found[0][\"Instances\"]) < 40)" "$found" && exit 0
      sleep 1
    done
    exit 1'
}

try_readme() {
  local line run folder=/srv lines=() started
  git clone --quiet --bare "$repository" "$root/srv/repository.git"
  git -C "$root/srv/repository.git" update-ref refs/heads/main "$(git -C "$repository" rev-parse "$commit")"
  # The base has Debian's Orthanc for the other promises; who begins with README has none.
  promise "(a machine with git and without Orthanc)" within bash -c "export DEBIAN_FRONTEND=noninteractive
    apt-get purge -qq -y --auto-remove orthanc && rm -rf /etc/orthanc && apt-get update -qq && apt-get install -qq -y git"
  mapfile -t lines < <(readme_lines)
  [ ${#lines[@]} -ge 5 ] || stop "README has no commands under 'A first derived series in Orthanc'."
  started=$SECONDS
  for line in "${lines[@]}"; do
    run=$line
    case $line in
      cd\ *) folder=$folder/${line#cd }; echo "        $line"; continue ;;
      *REPOSITORY*) run=${line/REPOSITORY/--branch main \/srv\/repository.git} ;;
      "imaging-node top") promise "the derived series is in Orthanc" in_orthanc; run="$line --once" ;;
    esac
    promise "# $line" within bash -c "cd $folder && $run"
    awk '/^--- /{said = ""; next} {said = said "        | " $0 "\n"} END {printf "%s", said}' "$root.log"
  done
  echo "$failed failed, after $((SECONDS - started)) s"
  [ "$failed" -eq 0 ]
}
