"""Speech over Triton's HTTP endpoints `generate` and `generate_stream`."""

import json
import urllib.error
import urllib.request

from tritone.launcher import TritonServer


def post(server: TritonServer, endpoint: str, **body: object) -> tuple[int, str, str]:
    """Status, content type and text of the answer."""
    url = f"{server.urls.http}/v2/models/cosyvoice2/{endpoint}"
    data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data, headers))
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["Content-Type"], answer.read().decode()


def events(text: str) -> list[dict]:
    """The JSON of each server-sent event."""
    return [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part]
