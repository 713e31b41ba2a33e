const { verify } = require('./webhook-signature.js');

/** Verifies requests, drops duplicates, and detects gaps and late events per ordering key. */
class Inbox {
  constructor(secret, { remember = 100000 } = {}) {
    this.secret = secret;
    this.remember = remember;
    this.seen = new Set(); // event ids; in production a table with a unique key
    this.last = new Map(); // ordering key -> the highest sequence so far; in production a row of the same database
  }

  /** Returns the status to answer. `headers` as in Node's request; `body` is a Buffer. */
  receive(headers, body, handle) {
    if (!verify(headers, body, this.secret)) return 401;
    const id = headers['webhook-id'];
    const key = headers['webhook-ordering-key'];
    const number = headers['webhook-sequence'];
    const sequence = key !== undefined && number !== undefined ? Number(number) : null;
    if (this.seen.has(id)) return 200;
    handle(JSON.parse(body.toString()), this.judge(key, sequence)); // if it throws, nothing is stored: answer 500
    this.seen.add(id);
    if (this.seen.size > this.remember) this.seen.delete(this.seen.values().next().value);
    if (sequence !== null) this.last.set(key, Math.max(sequence, this.last.get(key) ?? 0));
    return 200;
  }

  judge(key, sequence) {
    if (sequence === null) return 'without order';
    const last = this.last.get(key);
    if (last === undefined || sequence === last + 1) return 'in order';
    return sequence > last ? `gap of ${sequence - last - 1}` : 'late';
  }
}

module.exports = { Inbox };
