"""Server of a small twin's page, and of a photo page that links to it, without network.

    python twin_server.py FOLDER

Makes twin, run and model in FOLDER, then serves both at free ports. While FOLDER/hold exists, no simulation
gets its turn, and FOLDER/held says so. FOLDER/hurry leaves simulations no time, FOLDER/take your time some
again. FOLDER/secrets.json has what no page may tell.
"""

import json
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "twin"))

import jax
import numpy as np
import uvicorn
from made_run import FENCE, PLACES, POSITIONS, TWIN_NAME, secret_twin
from made_twin import LION
from web_server import forbid_other_machines

import bioclip_jax.twin.scenario.ensemble as ensemble_module
import bioclip_jax.twin.scenario.run as run_module
import bioclip_jax.web.twin.service as service_module
from bioclip_jax.convert import ModelBundle, write_model_directory
from bioclip_jax.models import get_config, init_params
from bioclip_jax.pipeline.images import Preprocess
from bioclip_jax.predict import load_model
from bioclip_jax.twin.scenario import RunOptions, run_twin
from bioclip_jax.twin.world import write_twin
from bioclip_jax.web import serve_twin
from bioclip_jax.web.app import build_app
from bioclip_jax.web.listen import bind
from bioclip_jax.web.service import PhotoService
from bioclip_jax.web.twin import TwinService
from bioclip_jax.web.uploads import Limits

NO_LIONS = f"""
name = "no lions"
[[events]]
kind = "remove"
species = "{LION}"
date = 2031-01-01
"""
MEMBERS, YEARS, WAITING = 8, 2, 6
# One compiled program for the run and for its visitors.
ensemble_module.CHUNK = run_module.CHUNK = service_module._CHUNK
service_module._MOST_STEPS = 4096


def create_files(folder: Path) -> None:
    (folder / "twin").mkdir()
    write_twin(folder / "twin", secret_twin())
    numbers = [str(abs(value)) for pair in POSITIONS for value in pair]
    (folder / "secrets.json").write_text(json.dumps([*PLACES, TWIN_NAME, FENCE, *numbers]))
    (folder / "lions.toml").write_text(NO_LIONS)
    run_twin(folder / "twin", folder / "run", [folder / "lions.toml"], RunOptions(MEMBERS, YEARS))


def obey(service: TwinService, folder: Path) -> None:
    queue = service.queue
    while True:
        time.sleep(0.02)
        for name, seconds in {"hurry": 0.0, "take your time": 60.0}.items():
            if (folder / name).exists():
                service.limits = replace(service.limits, seconds=seconds)
                (folder / name).unlink()
        if (folder / "hold").exists():
            with queue.turn():
                (folder / "held").touch()
                while (folder / "hold").exists():
                    time.sleep(0.02)
                (folder / "held").unlink()


def serve_photo_page(twin: TwinService, folder: Path) -> None:
    config = get_config("ViT-Test-16")
    params = jax.tree.map(np.array, init_params(config, seed=2))
    bundle = ModelBundle(config, params, Preprocess(config.vision.image_size), "ViT-Test-16", "a test")
    write_model_directory(bundle, folder / "small", replay_projector=False)
    app = build_app(PhotoService(load_model(folder / "small"), limits=Limits()), twin=twin)
    with bind("127.0.0.1", 0) as bound:
        print(f"The photo page is at port {bound.getsockname()[1]}.", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[bound])


if __name__ == "__main__":
    forbid_other_machines()
    folder = Path(sys.argv[1])
    create_files(folder)
    make_twin = service_module.open_twin

    def open_twin(*arguments: object) -> TwinService:
        service = make_twin(*arguments)
        threading.Thread(target=obey, args=(service, folder), daemon=True).start()
        threading.Thread(target=serve_photo_page, args=(service, folder), daemon=True).start()
        return service

    service_module.open_twin = open_twin
    serve_twin(folder / "run", port=0, queue=WAITING, scene_seconds=2.0)
