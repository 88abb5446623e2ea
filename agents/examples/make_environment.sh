# Sourced by the scripts that make environments of their own for tools with conflicting pins; needs $folder.
make() {
    name=$1
    shift
    if [ -e "$folder/$name/.ready" ]; then
        echo "$name: ready" >&2
        return
    fi
    echo "$name: installing ..." >&2
    "${PYTHON:-python3}" -m venv "$folder/$name"
    "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    touch "$folder/$name/.ready"
}
