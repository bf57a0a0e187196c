"""A callback receiver on FastAPI and sqlite3, as its users would write it: the token is checked, the body is stored
durably (synchronous = FULL), then the answer goes out."""

import base64
import hashlib
import hmac
import os
import sqlite3
import time

from fastapi import FastAPI, HTTPException, Request

KEY = bytes.fromhex(os.environ["CALLBACK_KEY"])
KEY_ID = hashlib.sha256(KEY).digest()[0]

db = sqlite3.connect(os.environ["DATABASE"], isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = FULL")
db.execute(
    """CREATE TABLE IF NOT EXISTS receipts (
    task TEXT NOT NULL, sha256 BLOB NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (task, sha256))"""
)

app = FastAPI()


def task_of(token: str) -> str | None:
    try:
        raw = base64.urlsafe_b64decode(token)
    except ValueError:
        return None
    if len(raw) != 33 or raw[0] != KEY_ID:
        return None
    mac = hmac.new(KEY, b"cb.v1\0" + raw[:17], hashlib.sha256).digest()
    return raw[1:17].hex() if hmac.compare_digest(mac[:16], raw[17:]) else None


@app.get("/livez")
async def livez():
    return {"ok": True}


@app.post("/cb/v1/{token}")
async def receive(token: str, request: Request):
    task = task_of(token)
    if task is None:
        raise HTTPException(404, "not found")
    body = await request.body()
    db.execute(
        "INSERT INTO receipts (task, sha256, body, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (task, hashlib.sha256(body).digest(), body.decode(), int(time.time() * 1000)),
    )
    return {"received": True}
