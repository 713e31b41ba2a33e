import base64
import hmac
import re
import time

TOLERANCE_S = 300


def verify(headers, body, secret):
    """Return whether the request was signed with `secret`.

    Look-ups in `headers` use lower-case names; `body` is the raw bytes, before any parsing.
    """
    event_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")  # separated by spaces: two while a secret is rotated
    key = base64.b64decode(secret.removeprefix("whsec_"))
    if not key or not re.fullmatch("[0-9]{1,12}", timestamp) or not (event_id + signatures).isascii():
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return any(hmac.compare_digest(each, expected) for each in signatures.split(" "))


# With Flask:
#
# @app.post("/webhooks")
# def webhooks():
#     body = request.get_data()
#     if not verify(request.headers, body, os.environ["WEBHOOK_SECRET"]):
#         return "", 401
#     event = json.loads(body)
#     return "", 204
