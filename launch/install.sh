# Sourced by the scripts beside it. install EXTRAS: create .venv in the repository and install the project with these
# extras, such as "[test]", unless that has been done.

install() {
    local extras=$1 python stamp
    if [ ! -x .venv/bin/python ]; then
        # Newer Pythons have no wheel of instant-clip-tokenizer, which then needs a Rust compiler.
        for python in python3 python3.12 python3.11; do
            if "$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
                echo "Making .venv with $("$python" --version)"
                if "$python" -m venv .venv; then break; else rm -rf .venv; fi
            fi
        done
    fi
    if [ ! -x .venv/bin/python ]; then
        echo "error: neither Python 3.11 nor 3.12 was found (or it lacks venv); install one and start again" >&2
        exit 2
    fi
    stamp=".venv/installed$extras-$(cksum < pyproject.toml | cut -d' ' -f1)"
    if [ ! -e "$stamp" ]; then
        echo "Installing bioclip-jax$extras into .venv (a minute or two)"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable ".$extras"
        touch "$stamp"
    fi
}
