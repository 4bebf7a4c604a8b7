# What the pages of docs/ begin with: functions for their `<!-- setup` comments.

# The first cloud of the tutorial, applied: two copies of a data set, one simulated piece of software.
first_cloud() {
    reconciler --quiet init my-cloud && cd my-cloud
    git config user.name Ada && git config user.email ada@example.org
    data=~/.local/share/reconciler/$(sed -n "s/^owner: //p" reconciler.yaml)
    mkdir -p "$data/uploads/data/first" "$data/uploads/software"
    echo one > "$data/uploads/data/first/run-001.txt"
    echo two > "$data/uploads/data/first/run-002.txt"
    sed -i '/suspend:/d' data/demo/first.yaml
    git commit --quiet --all --message "The data of demo:first are here"
    reconciler --quiet apply
}

# So many more uploads of the simulated site: tool-1, tool-2, ...
tools() {
    for number in $(seq "$1"); do
        sed -e "s/name: hello/name: tool-$number/" -e "s#hello/1.0#tool/$number#" \
            software/demo/hello.yaml > "software/demo/tool-$number.yaml"
    done
    git add --all && git commit --quiet --message "$1 tools"
    reconciler --quiet apply
}

# A cloud with a target for machines on this host, and the services of the sample repository.
workbench() {
    reconciler --quiet init my-cloud && cd my-cloud
    git config user.name Ada && git config user.email ada@example.org
    cat > providers/workbench.yaml <<END
apiVersion: reconciler/v1
kind: Provider
metadata:
  name: workbench
spec:
  groups: [demo]
  targets:
    - {name: workbench, type: hosts, machines: local, path: machines}
END
    cp -r "$DOCS/../sample-config-repo/catalogue" .
    git add --all && git commit --quiet --message "A workbench and services"
    reconciler --quiet apply
}

# Whoever commits in a page that begins with `reconciler init`.
ada() {
    git config --global user.name Ada && git config --global user.email ada@example.org
}
