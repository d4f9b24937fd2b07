"""Sessions of a web application that stand in the server: Flask with flask-session.

usage: web_sessions.py PORT, over TLS where TLS_CA names the authority's file
"""

import os
import sys
import warnings

import flask
import flask_session
import redis
from checks import check, finish

warnings.simplefilter("error")

PORT = int(sys.argv[1])



def application(server):
    app = flask.Flask("sample")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=server, SESSION_PERMANENT=True,
                      PERMANENT_SESSION_LIFETIME=600, SESSION_KEY_PREFIX="web:")
    flask_session.Session(app)

    @app.get("/count")
    def count():
        flask.session["count"] = flask.session.get("count", 0) + 1
        return str(flask.session["count"])

    @app.get("/keep/<word>")
    def keep(word):
        flask.session.setdefault("words", []).append(word)
        flask.session.modified = True
        return ",".join(flask.session["words"])

    @app.get("/end")
    def end():
        flask.session.clear()
        return "ended"

    return app


def main():
    tls = {}
    if "TLS_CA" in os.environ:
        tls = {"ssl": True, "ssl_ca_certs": os.environ["TLS_CA"]}
    server = redis.Redis(port=PORT, db=5, **tls)
    server.flushdb()
    app = application(server)
    visitors = [app.test_client() for _ in range(3)]
    for round_number in range(1, 4):
        for number, visitor in enumerate(visitors):
            check(f"visitor {number}", visitor.get("/count").text, str(round_number))
    check("a list", [visitors[0].get(f"/keep/{word}").text for word in ("a", "b")], ["a", "a,b"])
    keys = server.keys("web:*")
    check("a key each", len(keys), 3)
    check("they expire", [0 < server.ttl(key) <= 600 for key in keys], [True] * 3)
    check("another process reads it", application(server).test_client().get("/count").text, "1")
    visitors[1].get("/end")
    check("one has ended", visitors[1].get("/count").text, "1")
    server.flushdb()
    check("all are forgotten", visitors[0].get("/count").text, "1")


main()
sys.exit(finish())
