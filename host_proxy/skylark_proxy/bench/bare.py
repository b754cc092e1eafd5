"""`python -m skylark_proxy.bench.bare HOST PORT`: a Starlette application that reads a body and answers JSON."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def handler(request: Request) -> Response:
    """Reads the body and answers with its length."""
    return JSONResponse({"size_bytes": len(await request.body())})


if __name__ == "__main__":
    app = Starlette(routes=[Route("/", handler, methods=["POST"])])
    host, port = sys.argv[1:]
    uvicorn.run(app, host=host, port=int(port), loop="uvloop", http="httptools", log_level="warning", access_log=False)
