"""gino-starlette as its documentation shows it. Arguments: the DSN, the number of sessions."""

import os
import socket
import sys
import threading

import uvicorn
from gino.ext.starlette import Gino
from starlette.applications import Starlette
from starlette.responses import JSONResponse

app = Starlette()
db = Gino(app, dsn=sys.argv[1], pool_max_size=int(sys.argv[2]))


class User(db.Model):
    __tablename__ = "users"

    id = db.Column(db.BigInteger(), primary_key=True)
    name = db.Column(db.Unicode(), nullable=False)


async def user(request):
    found = await User.get_or_404(request.path_params["id"])
    # Not `to_dict()`: the order of its keys differs from process to process, and answers are compared byte by byte.
    return JSONResponse({"id": found.id, "name": found.name})


app.add_route("/users/{id:int}", user)


def end_with_the_harness():
    sys.stdin.buffer.read(1)
    os._exit(0)


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=end_with_the_harness, daemon=True).start()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
