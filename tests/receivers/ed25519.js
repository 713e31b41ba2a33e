// Verifies v1a for the tests without our code, as the specification of Standard Webhooks says: each line is
// {"public": "whpk_…", "headers": {…}, "family", "body": base64}, each answer the numbers of the v1a signatures that fit.
// Ends when its stdin does.
'use strict';
const crypto = require('crypto');
const readline = require('readline');

//: SubjectPublicKeyInfo of Ed25519, before the 32 bytes of the key (RFC 8410)
const PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (line) => {
  const { public: text, headers, family, body } = JSON.parse(line);
  const der = Buffer.concat([PREFIX, Buffer.from(text.slice('whpk_'.length), 'base64')]);
  const key = crypto.createPublicKey({ key: der, format: 'der', type: 'spki' });
  const head = Buffer.from(`${headers[`${family}-id`]}.${headers[`${family}-timestamp`]}.`);
  const signed = Buffer.concat([head, Buffer.from(body, 'base64')]);
  const signatures = headers[`${family}-signature`].split(' ').filter((each) => each.startsWith('v1a,'));
  const fitting = signatures.map((each) => crypto.verify(null, signed, key, Buffer.from(each.slice(4), 'base64')));
  process.stdout.write(`${fitting.flatMap((fits, number) => (fits ? [number] : [])).join(',')}\n`);
});
