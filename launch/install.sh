# Sourced by the scripts beside it: makes .venv in the repository and installs the project into it.
# install EXTRAS   for instance: install "" or install "[test]"; nothing happens where it was done before.

install() {
    local extras=$1 python stamp
    if [ ! -x .venv/bin/python ]; then
        for python in python3 python3.13 python3.12 python3.11; do
            if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                echo "Making .venv with $("$python" --version)"
                if "$python" -m venv .venv; then break; else rm -rf .venv; fi
            fi
        done
    fi
    if [ ! -x .venv/bin/python ]; then
        echo "error: no Python of at least 3.11 was found (or it lacks venv); install one and start again" >&2
        exit 2
    fi
    stamp=".venv/installed$extras-$(cksum < pyproject.toml | cut -d' ' -f1)"
    if [ ! -e "$stamp" ]; then
        echo "Installing bioclip-jax$extras into .venv (a minute or two)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras"
        touch "$stamp"
    fi
}
