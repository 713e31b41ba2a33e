// Signs for the golden tests without our code: each line is {"key": hex, "message": base64}, each answer the HMAC-SHA256
// in hex. Ends when its stdin does.
'use strict';
const crypto = require('crypto');
const readline = require('readline');

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
  const { key, message } = JSON.parse(line);
  const signature = crypto.createHmac('sha256', Buffer.from(key, 'hex')).update(Buffer.from(message, 'base64'));
  process.stdout.write(`${signature.digest('hex')}\n`);
});
