// Reads a request a line (see verify_requests.py) and writes what the snippet beside this file answers.
'use strict';
const readline = require('node:readline');
const { verify } = require('./webhook-signature.js');

const decoded = (text) => Buffer.from(text, 'base64');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [secret, body, ...pairs] = line.split('\t');
  const headers = {};
  for (let i = 0; i < pairs.length; i += 2) headers[pairs[i]] = decoded(pairs[i + 1]).toString();
  try {
    console.log(String(verify(headers, decoded(body), decoded(secret).toString())));
  } catch (error) {
    console.log(String(error));
  }
});
